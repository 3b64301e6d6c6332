"""Flashing by the chip makers' and debuggers' own tools, as subprocesses; which runs is a table."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from multigraft.devices.flash.flasher import FlashJob, FlashProgress
from multigraft.errors import DeviceError, InputError, MissingDependencyError, UsageError
from multigraft.installing import install_extra
from multigraft.reading import printable

STEP_S = 600.0
"""What one step may take: the slowest here writes 16 MiB over a serial line at 460,800 baud in six minutes."""
SAID_CHARACTERS = 1 << 20
"""What is kept of a tool's output, of its end."""
LONGEST_PIECE = 4096
"""Bytes of a line that does not end."""


@dataclass(frozen=True)
class Step:
    """One run of the tool.

    Args:
        arguments: After the executable.
        doing: What it does, for the progress.
        must_say: Regular expression without which the step has failed even if the tool ends well.
    """

    arguments: tuple[str, ...]
    doing: str
    must_say: str = ""


@dataclass(frozen=True)
class Tool:
    """A flashing tool.

    Args:
        executable: Its name.
        extra: The extra of multigraft that brings it; empty if the system does.
        suffix: Suffix of the images it takes.
        needs_port: It talks over a serial port.
        steps: What to run for a job.
        wrong_chip: Regular expression in the output that means another chip answers.
        no_board: Regular expression in the output that means nothing answers.
    """

    executable: str
    extra: str
    suffix: str
    needs_port: bool
    steps: Callable[[FlashJob], tuple[Step, ...]]
    wrong_chip: str
    no_board: str


def _openocd(job: FlashJob) -> tuple[Step, ...]:
    check = (
        f"if {{([mrw 0x{job.chip_register:08x}] & 0xfff) != 0x{job.chip_id:x}}} "
        "{echo {wrong chip}; shutdown error} else {echo {right chip}}"
    )
    script = [
        "init",
        "reset halt",
        *([check] if job.chip_register else []),
        f"program {{{job.image}}} verify reset exit" + (f" 0x{job.base:08x}" if job.image.suffix == ".bin" else ""),
    ]
    arguments = ["-f", "interface/stlink.cfg", "-f", f"target/{job.target}.cfg"]
    for line in script:
        arguments += ["-c", line]
    return (Step(tuple(arguments), "writing and verifying", r"Verified OK"),)


def _esptool(job: FlashJob) -> tuple[Step, ...]:
    chip = ("--chip", job.target, "--port", str(job.port))
    write = Step((*chip, "write_flash", f"0x{job.base:x}", str(job.image)), "writing", "Hash of data verified")
    return (write,)


def _pyocd(job: FlashJob) -> tuple[Step, ...]:
    # Without --no-wait it waits for a probe for ever.
    chip = ("--no-wait", "--target", job.target)
    check = Step(
        ("commander", *chip, "-c", f"read32 0x{job.chip_register:x}"), "asking the chip", f"(?i){job.chip_id:08x}"
    )
    write = Step(("flash", *chip, "--base-address", f"0x{job.base:x}", str(job.image)), "writing")
    verify = Step(
        ("commander", *chip, "-c", f"compare 0x{job.base:x} {job.image}", "-c", "reset"),
        "verifying",
        r"All \d+ bytes match",
    )
    return (*([check] if job.chip_register else []), write, verify)


def _stm32loader(job: FlashJob) -> tuple[Step, ...]:
    chip = ("--port", str(job.port), "--family", job.target)
    check = Step(chip, "asking the chip", f"(?i)0x0*{job.chip_id:x}")
    address = f"0x{job.base:08x}"
    write = Step(
        (*chip, "--erase", "--write", "--verify", "--address", address, str(job.image)), "writing", "Verification OK"
    )
    return (check, write)


TOOLS = {
    "openocd": Tool(
        "openocd", "", ".elf", False, _openocd, "wrong chip|UNEXPECTED", "open failed|no device"
    ),
    "esptool": Tool(
        "esptool.py", "flash", ".bin", True, _esptool, "This chip is",
        "Failed to connect|Could not open",
    ),
    "pyocd": Tool(
        "pyocd", "flash", ".bin", False, _pyocd, "(?i)invalid coresight|not match target",
        "(?i)no available debug probes|no connected debug probes",
    ),
    "stm32loader": Tool(
        "stm32loader", "flash", ".bin", True, _stm32loader, "(?i)unexpected (chip|device)",
        "(?i)can't init|no response|timeout|could not open",
    ),
}  # fmt: skip


class ToolFlasher:
    """Flasher adapter: a subprocess per step, its output read as it comes."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    @property
    def name(self) -> str:
        return self._tool.executable

    @property
    def suffix(self) -> str:
        return self._tool.suffix

    @property
    def needs_port(self) -> bool:
        return self._tool.needs_port

    def commands(self, job: FlashJob) -> list[list[str]]:
        if self.needs_port and job.port is None:
            raise UsageError(f"{self.name} needs a serial port", "give --port; multigraft devices list shows them")
        return [[self._tool.executable, *step.arguments] for step in self._tool.steps(job)]

    def flash(self, job: FlashJob, progress: FlashProgress) -> None:
        commands = self.commands(job)
        if not job.image.is_file():
            raise InputError(f"{job.image} does not exist", "build it first")
        tool = _find(self._tool.executable)
        if tool is None:
            get = install_extra(self._tool.extra) if self._tool.extra else f"run: sudo apt-get install {self.name}"
            raise MissingDependencyError(f"{self.name} is not installed", get)
        steps = self._tool.steps(job)
        for number, (command, step) in enumerate(zip(commands, steps, strict=True)):
            progress(number / len(steps), step.doing)

            def tell(share: float, number: int = number, step: Step = step) -> None:
                progress((number + share) / len(steps), step.doing)

            self._judge(*self._run([*tool, *command[1:]], step, tell), job, step)
        progress(1.0, "done")

    def _run(self, command: list[str], step: Step, tell: Callable[[float], None]) -> tuple[int, str]:
        """Exit code and output of one step.

        Raises:
            DeviceError: It was not done in STEP_S; the tool and what it started are gone then.
        """
        said, is_late = "", threading.Event()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def stop() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        def late() -> None:
            is_late.set()
            stop()

        watch = threading.Timer(STEP_S, late)
        watch.daemon = True
        watch.start()
        try:
            for piece in _pieces(process):
                said = (said + piece)[-SAID_CHARACTERS:]
                if percent := re.search(r"(\d{1,3})(?:\.\d+)? ?%", piece):
                    tell(min(int(percent[1]), 100) / 100)
            code = process.wait()
        finally:
            watch.cancel()
            if process.returncode is None:
                stop()
                process.wait()
        if is_late.is_set():
            raise DeviceError(
                f"{self.name} was not done with {step.doing} in {STEP_S:.0f} s", "reset the board and flash it again"
            )
        return code, said

    def _judge(self, code: int, said: str, job: FlashJob, step: Step) -> None:
        asked_in_vain = step.doing == "asking the chip" and code == 0 and not re.search(step.must_say, said)
        if asked_in_vain or re.search(self._tool.wrong_chip, said):
            raise DeviceError(
                f"the chip that answers is no {job.target} (0x{job.chip_id:x})", "choose the right --board or port"
            )
        if re.search(self._tool.no_board, said):
            where = f" at {job.port}" if job.port else ""
            raise DeviceError(f"{self.name} finds no board{where}", "plug it in and hold its boot button if it has one")
        if code != 0 or (step.must_say and not re.search(step.must_say, said)):
            last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
            raise DeviceError(f"{self.name} failed while {step.doing} ({printable(last)})", "flash it again")


def _find(tool: str) -> list[str] | None:
    """On the PATH, or beside this Python: a virtual environment need not be activated."""
    beside = sysconfig.get_path("scripts")
    found = shutil.which(tool) or shutil.which(tool, path=beside)
    if found is None:
        return None
    if Path(found).parent != Path(beside):
        # Of others the first line is no concern, and some may be run and not be read.
        return [found]
    # A script's first line cannot name an interpreter in a folder with a space (execve(2)), and pip writes such lines.
    with Path(found).open("rb") as script:
        first = script.readline(4096)
    return [sys.executable, found] if first.startswith(b"#!") and b"python" in first else [found]


def _pieces(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Output as it comes, up to each newline or carriage return, which progress bars use."""
    assert process.stdout is not None
    piece = b""
    with process.stdout as stream:
        while byte := stream.read(1):
            piece += byte
            if byte in b"\r\n" or len(piece) == LONGEST_PIECE:
                yield piece.decode("utf-8", "replace")
                piece = b""
    yield piece.decode("utf-8", "replace")
