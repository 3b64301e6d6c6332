"""READ_VARIABLE without a copy, where its readers are done before the variable is assigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.kernels.pixel_kernel import PixelKernel


def read_in_place(steps: Sequence[LoweredStep], answers: set[str]) -> list[LoweredStep]:
    """The steps with those READ_VARIABLEs made views that are done with before the variable is assigned."""
    result = list(steps)
    for index, s in enumerate(steps):
        if s.step.node.name == "READ_VARIABLE" and _done_in_time(result, index, answers):
            result[index] = replace(s, kernel=replace(s.kernel, view=True))
    return result


def _done_in_time(steps: Sequence[LoweredStep], read: int, answers: set[str]) -> bool:
    (variable,), names = steps[read].reads, set(steps[read].writes)
    assigned = False
    for s in steps[read + 1 :]:
        if names & set(s.reads):
            # Streaming may run layers over images, and additions, later than where they stand.
            streams = isinstance(s.kernel.pieces, PixelKernel) or s.step.node.name in ("ADD", "SUB")
            if assigned or streams or s.step.node.name == "ASSIGN_VARIABLE":
                return False
            if s.kernel.view:
                names |= set(s.writes)
        assigned = assigned or (s.step.node.name == "ASSIGN_VARIABLE" and s.writes == (variable,))
    return not names & answers
