"""The C files of ours that images are built of."""

from __future__ import annotations

from importlib import resources

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES

SHARED_SOURCES = ("app.c", "frames.c", "main.c", "memory.c", "start_common.c")
HEADERS = ("app.h", "frames.h", "port.h", "start.h")
BOOT_SOURCES = ("boot.c", "slots.c", "frames.c", "memory.c", "start_common.c")
PROTOCOLS = ("frames", "mlperf", "bench")
PARTS = {"app_frames.c": ("app_frames_answers.c", "app_frames_learning.c", "app_frames_loop.c")}
"""Files of a project that are written of several of ours, one behind the other: their functions are static to one."""


def target_sources(board: Board) -> tuple[str, ...]:
    """Names of the C files of ours that an image for ``board`` is built of, without the serial application."""
    assert board.uart is not None
    start = f"start_{CORES[board.core].architecture}.c"
    setup = (f"{board.setup}.c",) if board.setup else ()
    slots = ("update.c", "slots.c", f"{board.slots.driver}.c") if board.slots else ()
    return (*SHARED_SOURCES, start, f"uart_{board.uart.driver}.c", *setup, *slots)


def boot_sources(board: Board) -> tuple[str, ...]:
    """Names of the C files of ours that the boot loader of a board with slots is built of."""
    assert board.uart is not None and board.slots is not None
    start = f"start_{CORES[board.core].architecture}.c"
    setup = (f"{board.setup}.c",) if board.setup else ()
    return (*BOOT_SOURCES, start, f"uart_{board.uart.driver}.c", *setup, f"{board.slots.driver}.c")


def target_text(name: str) -> str:
    """The text of one of a project's C files, by its path below ``target``."""
    folder = resources.files("multigraft.firmware_gen.project") / "target"
    return "".join((folder / part).read_text("utf-8") for part in PARTS.get(name, (name,)))
