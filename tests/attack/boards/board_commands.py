"""Everything on a workstation that speaks to a board, each in a process with little memory and little time."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import signal
import sys
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from multigraft.cli.main import main
from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.target.fake_link import FakeFirmware
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.requests import Requests
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import MultigraftError
from multigraft.runtime.backends import load_backend
from tests.attack.boards.board_talk import Answers, faithful, serve
from tests.attack.boards.hostile_boards import Board
from tests.bundle_builder import build
from tests.core.cli.firmware.test_device_commands import golden_project

COMMAND_SECONDS = 120
"""A command that takes longer is ended; it has several answers to wait for."""
MEMORY_BYTES = 200 << 20
"""That a command may take beside what the process has before."""
Command = Callable[[str], int]
COMMANDS = ("info", "monitor", "monitor --json", "verify", "flash", "capture", "hear", "run", "bench")
"""Names of those that a workstation has; three are what programs do through the Python interface."""


class Workstation:
    """What the commands need, in a folder.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        load_backend("auto")
        self._bundle = folder / "home.graft"
        build().bundle.write(self._bundle)
        self._project = golden_project(folder / "project", "mps2-an386")
        self._slots = golden_project(folder / "slots", "qemu-virt-rv32-slots")
        self._image = folder / "image.bin"
        info = ImageInfo(FakeFirmware.run_addresses[1], "qemu-virt-rv32-slots")
        self._image.write_bytes(bytes(range(256)) * 4 + info.packed())

    def commands(self) -> dict[str, tuple[str, Command]]:
        """Name to the board that is expected and what runs, given a port; it gives the exit code."""
        ours, slots = "mps2-an386", "qemu-virt-rv32-slots"
        run = ["run", str(self._bundle), "--frames", "2", "--no-self-test", "--source"]
        bench = [
            "bench",
            str(self._bundle),
            "--runs",
            "1",
            "--warmup",
            "0",
            "--no-memory",
            "--no-energy",
            "--no-self-test",
        ]
        commands: dict[str, tuple[str, Command]] = {
            "info": (ours, _info),
            "monitor": (ours, lambda port: main(["monitor", "--port", port, "--count", "2"])),
            "monitor --json": (ours, lambda port: main(["monitor", "--port", port, "--count", "1", "--json"])),
            "verify": (ours, lambda port: main(["firmware", "verify", str(self._project), "--port", port])),
            "flash": (
                slots,
                lambda port: main(["flash", str(self._slots), "--port", port, "--image", str(self._image)]),
            ),
            "capture": (ours, _capture),
            "hear": (ours, _hear),
            "run": (ours, lambda port: main([*run, f"serial:{port}"])),
            "bench": (ours, lambda port: main([*bench, "--source", f"serial:{port}"])),
        }
        assert tuple(commands) == COMMANDS
        return commands


def _info(port: str) -> int:
    with SerialLink(port) as link:
        target = Target(link)
        print(target.info)
        target.forget()
        print(target.memory(), target.reset_reason(), target.statistics(clear=True))
        print(target.step_cycles() if target.info.measures_steps else "")
        target.reset()
    return 0


def _capture(port: str) -> int:
    with SerialCamera(SerialLink(port)) as camera:
        for picture in islice(camera, 2):
            print(picture.shape, picture.tobytes().hex())
    return 0


def _hear(port: str) -> int:
    with SerialLink(port) as link:
        target = Target(link)
        print(target.hear(np.zeros(400, np.int16), forget=True), target.hear(np.ones(200, np.int16)))
        print({name: values.tolist() for name, values in target.infer().outputs.items()})
    return 0


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code; negative for a signal.
        out: Standard output.
        err: Standard error.
        answer_s: The longest that one answer was waited for.
        command_s: What all of it took.
        peak_kib: Its largest resident size.
    """

    code: int
    out: str
    err: str
    answer_s: float
    command_s: float
    peak_kib: int


class Meeting:
    """A command and a board at the two ends of a pseudo-terminal, each in its own process.

    Args:
        command: What runs.
        expected: The board that the command is for.
        board: The hostile one; None for a faithful one.
    """

    def __init__(self, command: Command, expected: str, board: Board | None) -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._out, self._err, self._facts = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        sys.stdout.flush()
        self._start = time.monotonic()
        self._board = _forked(lambda: _be_board(master, slave, Answers(board, faithful(expected))))
        self._command = _forked(lambda: self._be_command(master, slave, command))
        os.close(master)
        os.close(slave)

    def ended(self) -> Ending | None:
        """How it ended; None while it goes on."""
        child, status, usage = os.wait4(self._command, os.WNOHANG)
        if child == 0:
            return None
        os.kill(self._board, signal.SIGKILL)
        os.waitpid(self._board, 0)
        facts = _read(self._facts)
        return Ending(
            os.waitstatus_to_exitcode(status),
            _read(self._out),
            _read(self._err),
            float(facts or time.monotonic() - self._start),
            time.monotonic() - self._start,
            usage.ru_maxrss,
        )

    def _be_command(self, master: int, slave: int, command: Command) -> int:
        os.close(master)
        os.close(slave)
        os.dup2(self._out.fileno(), 1)
        os.dup2(self._err.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(COMMAND_SECONDS)
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        answers = _timed_operations()
        try:
            return command(self.port)
        except MultigraftError as error:
            print(f"multigraft: {error}", file=sys.stderr)
            return error.exit_code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(self._facts.fileno(), json.dumps(max(answers, default=0.0)).encode())


def _timed_operations() -> list[float]:
    """From now on, how long each operation of this process takes; those within others are part of them."""
    taken: list[float] = []
    plain = Requests.operation

    @contextlib.contextmanager
    def timed(self: Requests) -> Iterator[None]:
        start = time.monotonic()
        try:
            with plain(self):
                yield
        finally:
            taken.append(time.monotonic() - start)

    setattr(Requests, "operation", timed)  # noqa: B010
    return taken


def _be_board(master: int, slave: int, answers: Answers) -> int:
    with contextlib.suppress(OSError):
        serve(master, answers)
    os.close(master)
    os.close(slave)
    return 0


def _forked(work: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def _read(opened: BinaryIO) -> str:
    with opened:
        opened.seek(0)
        return opened.read().decode(errors="backslashreplace")
