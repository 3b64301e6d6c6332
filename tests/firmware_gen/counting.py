"""Instructions of the least image, counted in QEMU."""

from __future__ import annotations

import tempfile
from pathlib import Path

from multigraft.devices.target.terminal_link import TerminalLink
from multigraft.errors import ConversionError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.inspection.instruction_count import InstructionCounter, Instructions

_ANSWER_S = 120.0
"""What an emulated board may take for an inference."""


def count_instructions(board: Board, image: Path) -> Instructions:
    """Boot an image built with ``make PROTOCOL=bench`` in QEMU and count one inference of all tasks, on zeros."""
    with tempfile.TemporaryDirectory() as name:
        counter = InstructionCounter(board, image, Path(name))
        emulated = EmulatedBoard(board, image, counter.options)
        with emulated, TerminalLink(emulated.port) as link:
            emulated.resume()
            ready = link.read(1, _ANSWER_S)
            link.write(b".")
            if (ready, link.read(1, _ANSWER_S)) != (b"r", b"d"):
                raise ConversionError("the emulated board does not answer", "build it with make PROTOCOL=bench")
        return counter.runs()[0]
