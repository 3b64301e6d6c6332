"""Boots an image on an emulated board, its serial port being a pseudo-terminal that any serial tool opens."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from multigraft.errors import ConversionError, DeviceError, MissingDependencyError, UsageError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.update_slots import factory_contents, slot_contents

_PACKAGE = {"arm": "qemu-system-arm", "riscv32": "qemu-system-misc"}
_FLASH_BYTES = 32 * 1024 * 1024
_PORT = re.compile(r"char device redirected to (\S+)")


def qemu_of(board: Board) -> str:
    """Path of the emulator for a board.

    Raises:
        UsageError: The board is not emulated.
        MissingDependencyError: QEMU is not installed.
    """
    if board.qemu is None:
        from multigraft.firmware_gen.boards.boards import BOARDS

        emulated = ", ".join(b.name for b in BOARDS.values() if b.qemu is not None)
        raise UsageError(f"{board.name} is not emulated by QEMU", f"choose from: {emulated}")
    emulator = shutil.which(f"qemu-system-{board.qemu.system}")
    if emulator is None:
        raise MissingDependencyError(
            f"qemu-system-{board.qemu.system} is not installed",
            f"install it with: apt-get install {_PACKAGE[board.qemu.system]}",
        )
    return emulator


def write_flash(board: Board, image: bytes, path: Path) -> None:
    """Make the file behind the flash of QEMU's virt machine, with ``image`` in the first slot."""
    assert board.slots is not None
    contents = slot_contents(board.slots, image).ljust(2 * board.slots.size, b"\xff")
    with path.open("wb") as opened:
        opened.write(contents)
        opened.truncate(_FLASH_BYTES)


def slot_options(boot: Path, flash: Path) -> tuple[str, ...]:
    """Options that start a boot loader with a flash file, which keeps what is written to it."""
    return ("-bios", str(boot), "-drive", f"if=pflash,unit=1,format=raw,file={flash}")


_FATAL = re.compile(r"qemu: (?:fatal: )?([^\r\n]+)")


class EmulatedBoard:
    """A running QEMU, from entering to leaving a ``with`` block.

    It waits with the processor stopped, so that nothing the firmware sends is lost; open :attr:`port` and then call
    :meth:`resume`.

    Args:
        board: With a QEMU machine.
        image: The .elf file, or None if ``options`` say what is run. Of a board with slots, the .bin file beside it
            is put into the first slot of a flash that is gone afterwards. QEMU has no flash controller of the STM32F4,
            so that such a board refuses updates there.
        options: Further arguments for QEMU.
    """

    def __init__(self, board: Board, image: str | os.PathLike[str] | None, options: Sequence[str] = ()) -> None:
        executable = qemu_of(board)
        self._flash: tempfile.TemporaryDirectory[str] | None = None
        assert board.qemu is not None
        if image is not None and not Path(image).is_file():
            raise UsageError(f"{image} does not exist", "build it with: make -C the project's folder")
        # A killed parent runs no __exit__, and QEMU would go on for ever.
        guard = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
        self._command = [
            *guard,
            executable,
            *("-M", board.qemu.machine),
            *board.qemu.options,
            *(self._image_options(board, Path(image)) if image is not None else ()),
            *("-display", "none", "-S", "-monitor", "stdio", "-chardev", "pty,id=uart", "-serial", "chardev:uart"),
            *options,
        ]
        self._process: subprocess.Popen[str] | None = None
        self.port = ""

    def _image_options(self, board: Board, image: Path) -> tuple[str, ...]:
        if board.slots is None:
            return ("-kernel", str(image))
        self._flash = tempfile.TemporaryDirectory(prefix="multigraft-flash-")
        flash = Path(self._flash.name) / "flash"
        content, boot = image.with_suffix(".bin").read_bytes(), image.parents[1] / "boot.elf"
        if board.slots.in_place:
            flash.write_bytes(factory_contents(board.slots, boot.with_suffix(".bin").read_bytes(), content))
            return ("-kernel", str(flash))
        write_flash(board, content, flash)
        return slot_options(boot, flash)

    def __enter__(self) -> Self:
        """Start QEMU.

        Raises:
            ConversionError: QEMU does not start.
        """
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._process.stdout is not None
        said = ""
        while not (redirected := _PORT.search(said)):
            line = self._process.stdout.readline()
            if not line:
                raise ConversionError(f"QEMU ended: {said.strip()}", "check its options")
            said += line
        self.port = redirected.group(1)
        return self

    def resume(self) -> None:
        """Let the processor run."""
        self._tell("cont")

    def reset(self) -> None:
        """Switch the board off as by its power switch, memory being kept as QEMU keeps it."""
        self._tell("system_reset")

    def kill(self) -> None:
        """End QEMU at once, wherever it is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _tell(self, command: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End QEMU in order, so that plugins write what they counted.

        Raises:
            ConversionError: A device error came of QEMU having ended by itself, as it does where firmware locks up.
        """
        if self._flash is not None:
            self._flash.cleanup()
        process, self._process = self._process, None
        if process is None:
            return
        crashed = isinstance(error, DeviceError) and _ended(process)
        said = process.stdout.read() if crashed and process.stdout is not None else ""
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if crashed:
            fatal = _FATAL.search(said)
            reason = fatal[1].strip() if fatal else f"code {process.returncode}"
            raise ConversionError(f"the image does not run, QEMU ended ({reason})", "build it again")


def _ended(process: subprocess.Popen[str]) -> bool:
    """Whether it ended by itself; a port may be gone a moment earlier than what held it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(timeout=0.5) != -signal.SIGKILL
    return False
