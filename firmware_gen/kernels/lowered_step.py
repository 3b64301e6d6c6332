"""A step with its kernel, between lowering and printing."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.program.program import Step


@dataclass(frozen=True)
class LoweredStep:
    """A step with its kernel; ``reads`` and ``writes`` name buffers, views already resolved.

    Steps in a row with the same ``repeat`` are a loop: the first 32 bits of that buffer say how often they run, and C
    text finds in ``at`` which turn it is. ``condition`` is C that has to hold in place of a task being asked for.
    """

    step: Step
    kernel: Kernel
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    repeat: str = ""
    condition: str = ""
