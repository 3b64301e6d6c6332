"""What a frame goes through, a part at a time, to be measured."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import frames_of_inputs
from multigraft.tensors.preparation import Frame


class Part(NamedTuple):
    """One that can be run alone.

    Attributes:
        kind: ``preprocessing`` of a network input, a ``segment``, ``answering`` of a task, or ``boxes``: crops that
            tasks look at, from cutting them out to their answers.
        of: The tensor, the segment, the task, or the tasks with commas between.
    """

    kind: Literal["preprocessing", "segment", "answering", "boxes"]
    of: str

    def __str__(self) -> str:
        return self.of if self.kind == "segment" else f"{self.kind} of {self.of}"


def parts_of(
    engine: Engine, frame: Frame | Mapping[str, Frame], tasks: Iterable[str] | None = None
) -> dict[Part, Callable[[], Any]]:
    """What :meth:`Engine.run` does on this frame; each part may be run again and again.

    The engine has what the frame made of it: nothing else may use it meanwhile.

    Args:
        engine: Of a bundle.
        frame: As :meth:`Engine.run` takes it.
        tasks: As :meth:`Engine.run` takes them.

    Raises:
        BundleError: The bundle has no such task.
        InputError: The frame does not fit.
    """
    by_task = frame if isinstance(frame, Mapping) else None
    if by_task is not None and tasks is None:
        tasks = tuple(by_task)
    answers = engine.run(frame, tasks).answers
    bound = engine._bound_for(tasks)
    stages = bound.stages
    whole = engine._bound_for(bound.roots) if stages else bound
    if by_task is None:
        frames = dict.fromkeys(whole.inputs, frame)
    else:
        frames = dict(frames_of_inputs(engine.manifest, by_task, [name for name, _ in whole.decoders]))
    found: dict[Part, Callable[[], Any]] = {}
    for tensor, (fill, array) in zip(whole.inputs, whole.fills, strict=True):
        found[Part("preprocessing", tensor)] = functools.partial(fill, frames[tensor], array)  # type: ignore[arg-type]
    for segment, (_, invoke) in zip(whole.segments, whole.runs, strict=True):
        found[Part("segment", segment)] = invoke
    for task, decode in whole.decoders:
        found[Part("answering", task)] = decode
    shown: dict[str, Any] = {root: frame if by_task is None else by_task[root] for root in whole.roots}
    for stage in stages:
        picture, boxes = shown[stage.on.task], answers[stage.on.task]
        shown |= dict.fromkeys(stage.tasks, picture)

        def ask(stage: Any = stage, picture: Any = picture, boxes: Any = boxes) -> None:
            engine.ask_boxes(stage, picture, boxes, time.perf_counter_ns(), exits=False)

        found[Part("boxes", ",".join(stage.tasks))] = ask
    return found
