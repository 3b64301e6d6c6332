"""Another machine by the system's ssh: its keys, its settings and its agent are the user's, and stay where they are."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.errors import DeviceError, MissingDependencyError, UsageError
from multigraft.reading import UnreadableError, parse_json, printable

_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%@\[\]+-]*")
_OPTIONS = ("ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")
"""A machine that vanishes is given up after 15 seconds."""
_SSH_FAILED = 255
_NOT_FOUND = 127


@dataclass(frozen=True)
class Remote:
    """How machines are reached.

    Attributes:
        command: What starts multigraft there, as its shell reads it.
        ssh: The ssh program with options of the user's.
        asks: Whether ssh may ask for a password.
    """

    command: str = "multigraft"
    ssh: tuple[str, ...] = ("ssh",)
    asks: bool = True

    def ask(self, host: str, arguments: Sequence[str], given: Sequence[bytes] = ()) -> dict[str, Any]:
        """Run a multigraft command there and return the JSON that it prints.

        Args:
            host: As ssh takes it, such as ``pi@garden``.
            arguments: Of the command.
            given: What it reads, in pieces.

        Raises:
            DeviceError: The machine cannot be reached, the command fails there, or the connection was cut; its own
                sentence is passed on.
            MissingDependencyError: There is no ssh.
            UsageError: ``host`` is no name of a machine.
        """
        check_host(host)
        settings = _OPTIONS if self.asks else (*_OPTIONS, "BatchMode=yes")
        options = [word for setting in settings for word in ("-o", setting)]
        command = [*self.ssh, *options, "-T", "--", host, f"{self.command} {shlex.join(arguments)}"]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise MissingDependencyError(
                f"{self.ssh[0]} cannot be started: {error.strerror}", "install OpenSSH's client"
            ) from error
        with process:
            try:
                out, errors = process.communicate(b"".join(given))
            except BaseException:
                process.kill()
                raise
        return _answer(host, process.returncode, out, errors.decode(errors="replace"), self.command)


def check_host(host: str) -> None:
    """Refuse what ssh would take for an option or a shell for more than a name.

    Raises:
        UsageError: It is no name of a machine.
    """
    if not _HOST.fullmatch(host):
        raise UsageError(f"{printable(host)} is no name of a machine", "write user@host, as for ssh")


def _answer(host: str, code: int, out: bytes, errors: str, command: str) -> dict[str, Any]:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    said = printable((lines or ["no reason given"])[-1]).rstrip(".")
    if code == _SSH_FAILED:
        raise DeviceError(f"{host}: {said}", "check that ssh reaches it")
    if code == _NOT_FOUND:
        raise DeviceError(f"{host}: {said}", f"install multigraft there, or give its path with --command ({command})")
    if code < 0:
        raise DeviceError(f"{host}: the connection was ended", "deploy again; what is served there is whole")
    if code != 0:
        raise DeviceError(f"{host}: {said.removeprefix('multigraft: ')}", "mend that there")
    # A shell's start-up file may have printed something before.
    for line in reversed(out.decode(errors="replace").splitlines()):
        try:
            answer = parse_json(line.encode())
        except UnreadableError:
            continue
        if isinstance(answer, dict):
            return answer
    raise DeviceError(f"{host}: the answer was lost", "deploy again; what is served there is whole")
