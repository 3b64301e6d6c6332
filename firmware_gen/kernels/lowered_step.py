"""A step with its kernel, between lowering and printing."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.program.program import Step


@dataclass(frozen=True)
class LoweredStep:
    """A step with its kernel; ``reads`` and ``writes`` name buffers, views already resolved."""

    step: Step
    kernel: Kernel
    reads: tuple[str, ...]
    writes: tuple[str, ...]
