"""Where the arena of a model may lie on a board."""

from __future__ import annotations

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.memory.regions import Space
from multigraft.firmware_gen.project.linker_script import STACK_BYTES, region_section

APP_BYTES = 1024
"""Static RAM of our serial applications without the staged inputs; the largest takes 0.7 KiB."""


def spaces_of(board: Board, input_bytes: int) -> tuple[Space, ...]:
    """Where a model's arena may lie: what our own code leaves of the first RAM region, and the other regions.

    Args:
        board: What is generated for.
        input_bytes: Bytes of all inputs of the model, which our applications hold once more.
    """
    ram = board.region("ram")
    if board.uart is None:
        further = tuple(Space(r.name, r.size, r.dma, r.section) for r in board.more_ram() if r.section)
        return (Space(ram.name, ram.size), *further)
    left = ram.size - STACK_BYTES - APP_BYTES - input_bytes
    return (Space(ram.name, left), *(Space(r.name, r.size, r.dma, region_section(r)) for r in board.more_ram()))
