"""What an engine binds once for a choice of tasks, so that a frame has nothing to look up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from multigraft.runtime.answers import Answer
from multigraft.runtime.cascades import Stage
from multigraft.runtime.exits.journey import Copies, Run, Way
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame


@dataclass(frozen=True)
class BoundTasks:
    """All that a frame needs for one choice of tasks, bound once.

    Attributes:
        fills: (fill, array) per network input.
        inputs: Their tensors.
        input_copies: (target, source) bytes per further segment that reads the same network input.
        runs: (copies, invoke) per segment: bytes of the boundary tensors that it reads as (target, source), and what
            runs it.
        decoders: (task, what reads its answer) per task.
        placed: (task, tensor) of those whose answers have a place on the frame that this input is made of.
        segments: Their names, in running order.
        roots: Those of the tasks, or of the tasks whose boxes they look at, that look at whole frames.
        stages: What is asked of boxes, in running order; mostly nothing.
        way: Where a task has early exits: what decides which segments run. None elsewhere.
    """

    fills: tuple[tuple[Callable[[Frame, Array], None], Array], ...]
    inputs: tuple[str, ...]
    input_copies: Copies
    runs: tuple[Run, ...]
    decoders: tuple[tuple[str, Callable[[], Answer]], ...]
    placed: tuple[tuple[str, str], ...]
    segments: tuple[str, ...]
    roots: tuple[str, ...]
    stages: tuple[Stage, ...]
    way: Way | None
