"""Compiler flags that all builds of a board share."""

from __future__ import annotations

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of

WARNINGS = "-Wall -Wextra -Werror -Wconversion -Wno-sign-conversion"


def core_flags(board: Board) -> str:
    """Flags that make gcc emit code for the board's core."""
    core = CORES[board.core]
    hosted = "" if core.architecture == "arm" else " -ffreestanding -fbuiltin"
    return " ".join((*core.gcc_flags, *toolchain_of(core).flags)) + hosted
