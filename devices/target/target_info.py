"""What a device with generated firmware says of itself and of its answers."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.serial_protocol import ResetReason
from multigraft.tensors.arrays import Array


@dataclass(frozen=True)
class TargetTensor:
    """An input or output on the device; ``real = scale * (stored - zero_point)``, scale 0.0 if not quantised."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class TargetInfo:
    """What a device is. ``tasks`` maps names to indices of outputs, in the order of the mask's bits."""

    board: str
    model: str
    digest: str
    clock_hz: int
    takes_updates: bool
    measures_steps: bool
    keeps_variables: bool
    hears: bool
    inputs: tuple[TargetTensor, ...]
    outputs: tuple[TargetTensor, ...]
    tasks: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class TargetAnswer:
    """Outputs by name (as stored, shape as on the device) and what the model alone took on the device."""

    outputs: dict[str, Array]
    cycles: int
    latency_us: int


@dataclass(frozen=True)
class TensorStatistics:
    """Mergeable sums over the stored values of a tensor."""

    inferences: int
    elements: int
    smallest: int
    largest: int
    sum: int
    sum_of_squares: int

    def __add__(self, other: TensorStatistics) -> TensorStatistics:
        return TensorStatistics(
            self.inferences + other.inferences,
            self.elements + other.elements,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.sum + other.sum,
            self.sum_of_squares + other.sum_of_squares,
        )


@dataclass(frozen=True)
class TargetMemory:
    """Bytes."""

    flash_used: int
    flash_there: int
    ram_used: int
    ram_there: int
    arena: int
    stack_peak: int


@dataclass(frozen=True)
class TargetReset:
    """Why the device started; for a fault, where and the processor's fault status."""

    reason: ResetReason
    program_counter: int
    status: int
