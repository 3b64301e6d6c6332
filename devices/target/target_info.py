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
    leaves_early: bool
    learns: bool
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
class TargetExit:
    """An early exit on a device, with counts of frames since it started or was told to forget.

    Attributes:
        task: Whose.
        number: Which of the exits of its task it is, from 1 on.
        output: Index of the output with its answer.
        said: Index of the output that tells by which exit the task left; 0 there: by none.
        whole: Index of the output with the whole network's answer.
        is_open: Its promise was not refuted.
        is_in_doubt: All frames that take it are audited.
        reached: Frames for which it was computed.
        taken: Those that were sure enough, audited or not.
        audited: Frames that also ran to the end.
        disagreed: Those of them that the whole network answers otherwise.
    """

    task: str
    number: int
    output: int
    said: int
    whole: int
    is_open: bool
    is_in_doubt: bool
    reached: int
    taken: int
    audited: int
    disagreed: int


@dataclass(frozen=True)
class TargetLearning:
    """What a device learns, and how much of it there is so far.

    Attributes:
        task: Whose last layer is solved anew.
        is_solved: The layer that answers was solved, and is no longer that of the project.
        classes: How many it can have.
        features: Inputs of that layer.
        most_frames: Frames that its sums can take.
        of_class: Frames in them of the class that was asked for; with KEEP all.
        frames: All frames in them.
        sums_bytes: Bytes of the sums.
        layer_bytes: Bytes of the layer.
        identity: Of the layer as generated and what it knows; sums belong to firmware of the same.
    """

    task: str
    is_solved: bool
    classes: int
    features: int
    most_frames: int
    of_class: int
    frames: int
    sums_bytes: int
    layer_bytes: int
    identity: int


@dataclass(frozen=True)
class TargetSlots:
    """What a device with two slots runs, and what may come into the other.

    Attributes:
        running: The slot, None for none.
        run_address: Of an image for the other slot.
        room_bytes: That such an image may have.
        running_bytes: Bytes of the image that runs; 0 where another one runs from the next start on.
        running_crc: Its CRC-32.
    """

    running: int | None
    run_address: int
    room_bytes: int
    running_bytes: int
    running_crc: int


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
