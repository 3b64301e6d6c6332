"""OpenSSH's own server on loopback, for one user with one key, in a folder of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import multigraft

SECONDS = 10.0


@dataclass(frozen=True)
class Sshd:
    """A running server.

    Attributes:
        host: What to give ``--host``.
        ssh: What to give ``--ssh``.
        command: What to give ``--command``.
    """

    host: str
    ssh: str
    command: str

    def options(self, *further: str) -> list[str]:
        return ["--host", self.host, "--ssh", self.ssh, "--command", self.command, *further]


def why_not() -> str | None:
    """Why there can be no server here, None if there can."""
    if not (shutil.which("ssh") and shutil.which("ssh-keygen")):
        return "OpenSSH's client is not installed"
    if not _program():
        return "OpenSSH's server is not installed"
    if os.geteuid() == 0 and not Path("/run/sshd").is_dir():
        return "OpenSSH's server lacks its folder /run/sshd"
    return None


def _program() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    """A server that takes the calling user."""
    program = _program()
    assert program is not None
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "MaxStartups 100\n"
    )
    server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        # The multigraft that runs these tests, wherever it lies.
        path = f"PYTHONPATH={Path(multigraft.__file__).parents[1]}"
        command = shlex.join(["env", path, sys.executable, "-m", "multigraft"])
        ssh = ["ssh", "-F", "none", "-p", str(port), "-i", str(folder / "user_key")]
        ssh += ["-o", f"UserKnownHostsFile={folder}/known", "-o", "StrictHostKeyChecking=accept-new"]
        yield Sshd(f"{getpass.getuser()}@127.0.0.1", shlex.join(ssh), command)
    finally:
        server.terminate()
        server.wait()


def _wait(port: int) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
