"""The machine as the doctor sees it: files below a root, commands, and this process; all of it can be another's."""

from __future__ import annotations

import contextlib
import grp
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multigraft.devices.sysfs import read_text

SECONDS = 60.0
"""For a command: the first start of a package on an SD card takes long."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative for a signal, None if it did not end in time), and what it said."""

    code: int | None
    output: str
    errors: str


def _own_groups() -> frozenset[str]:
    names = set()
    for number in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return frozenset(names)


def _free_bytes(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


@dataclass(frozen=True)
class System:
    """A machine.

    Attributes:
        root: Where its files lie.
        environment: Of commands; their programs are found by its ``PATH``.
        python: The Python whose packages are looked at.
        is_root: Whether this user may do anything.
        groups: Names of those that this user is in.
        now_s: The clock, seconds since 1970.
        free_bytes: Free bytes of the disk that a path lies on.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    python: str = sys.executable
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    groups: frozenset[str] = field(default_factory=_own_groups)
    now_s: Callable[[], float] = time.time
    free_bytes: Callable[[Path], int] = _free_bytes

    def text(self, path: str) -> str | None:
        """The stripped text of a file, such as ``proc/cpuinfo``; None where it cannot be read."""
        text = read_text(self.root / path)
        return None if text is None else text.strip("\0")

    def found(self, pattern: str) -> list[Path]:
        """The files that a pattern such as ``sys/class/net/*`` fits, in order."""
        return sorted(self.root.glob(pattern))

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.root / path)

    def may_use(self, device: Path) -> bool:
        """Whether this user may read and write a device."""
        return os.access(device, os.R_OK | os.W_OK)

    def run(self, *command: str, seconds: float = SECONDS) -> Ended | None:
        """Run a command; None where there is no such program."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=self.environment,
                timeout=seconds,
                check=False,
            )
        except OSError:
            return None
        except subprocess.TimeoutExpired:
            return Ended(None, "", f"did not end within {seconds:g} s")
        return Ended(done.returncode, done.stdout, done.stderr)

    def probe(self, *arguments: str) -> Ended | None:
        """Run a function of :mod:`multigraft.runtime.doctor.probe` in a process of its own, which may crash."""
        return self.run(self.python, "-m", "multigraft.runtime.doctor.probe", *arguments)
