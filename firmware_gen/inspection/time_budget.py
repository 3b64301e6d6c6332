"""How long a board may take for one inference: from what the model computes and the board's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multigraft.firmware_gen.boards.board import Board

MOST_INSTRUCTIONS_PER_MAC = 16
"""The slowest kernels take 8, on a Cortex-M0+."""
MOST_CYCLES_PER_INSTRUCTION = 4
"""With a flash that makes the processor wait."""
EMULATED_INSTRUCTIONS_PER_S = 10_000_000
"""A busy workstation's share of what QEMU executes."""
FRAMES = 2
"""A request that gets lost is sent again."""


def time_budget_s(report: Mapping[str, Any], board: Board, emulated: bool) -> float:
    """The most seconds that an inference may take, for the time limit of a request.

    Args:
        report: What :func:`multigraft.firmware_gen.inspection.report.read_report` gives of the project.
        board: The project's board.
        emulated: It runs in QEMU.
    """
    macs = sum(step["macs"] for step in report["steps"] if isinstance(step, dict) and _is_count(step.get("macs")))
    instructions = FRAMES * MOST_INSTRUCTIONS_PER_MAC * macs
    if emulated:
        return float(instructions / EMULATED_INSTRUCTIONS_PER_S)
    return float(instructions * MOST_CYCLES_PER_INSTRUCTION / board.clock_hz)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
