"""One frame whose tasks are asked one after the other, with time for other things in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from multigraft.runtime.answers import Answer
from multigraft.runtime.cascades import Stage, StageTime
from multigraft.runtime.engine import Engine
from multigraft.runtime.exits.journey import Copies, Journey, Way
from multigraft.runtime.frames import frames_of_inputs
from multigraft.runtime.result import Result
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame


class Turn:
    """Asks tasks of one frame; what was run for one is not run again for another.

    Answers are those of :meth:`Engine.run <multigraft.runtime.engine.Engine.run>` to the last bit. Between two of them
    the engine may be used otherwise: what this overwrites is then run again.

    Args:
        engine: Of a bundle.
        frame: As :meth:`Engine.run` takes it.
        now: Nanoseconds, by which parts are timed.
        exits: Take early exits; without, every frame costs what it may cost at most.

    Attributes:
        answers: Task to what was answered.
        times_us: Part to microseconds: ``prepare TENSOR``, segments by name, ``answer TASK`` with all that is left,
            ``boxes TASK``.
        stages: What looking at boxes took.
        exits: As :attr:`multigraft.runtime.result.Result.exits`.
    """

    def __init__(
        self,
        engine: Engine,
        frame: Frame | Mapping[str, Frame],
        now: Callable[[], int] = time.perf_counter_ns,
        exits: bool = True,
    ) -> None:
        self._engine, self._frame, self._now = engine, frame, now
        self._begin = time.perf_counter_ns()
        self._uses = -1
        self._filled: dict[str, Array] = {}
        self._done: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.times_us: dict[str, float] = {}
        self.stages: list[StageTime] = []
        self._takes_exits = exits
        self.exits: dict[str, str] | None = {} if exits and engine.gates else None

    def ask(self, task: str) -> Answer:
        """Answer a task, and the one whose boxes it looks at where that was not asked.

        Raises:
            BundleError: The bundle has no such task.
            InputError: The frame is not of the kind, dtype or shape that the task takes, or it has none.
        """
        on = self._engine.manifest.task(task).on
        if on is None:
            self.answers[task] = self._ask_whole(task)
            return self.answers[task]
        found = self.answers[on.task] if on.task in self.answers else self.ask(on.task)
        start = self._now()
        stage = Stage(on, (task,))
        is_whole = self._engine.uses == self._uses and not self._overlaps(task)
        told, taken = self._engine.ask_boxes(stage, self.picture(task), found, self._begin, self._takes_exits)
        if is_whole:
            self._uses = self._engine.uses
        us = (self._now() - start) / 1000
        self.stages.append(StageTime(stage, taken.crops, taken.late, us))
        self._add(f"boxes {task}", us)
        self.answers |= told
        return told[task]

    def result(self) -> Result:
        """All that was answered until now."""
        return _Told(self)

    def _ask_whole(self, task: str) -> Answer:
        engine = self._engine
        stamp = self._now()
        bound = engine._bound_for((task,))
        by_task = self._frame if isinstance(self._frame, Mapping) else None
        frames: Mapping[str, Any] = (
            dict.fromkeys(bound.inputs, self._frame)
            if by_task is None
            else frames_of_inputs(engine.manifest, by_task, (task,))
        )
        with engine._lock:
            if engine.uses != self._uses:
                self._done.clear()
                self._filled.clear()
            for tensor, (fill, array) in zip(bound.inputs, bound.fills, strict=True):
                if tensor not in self._filled:
                    fill(frames[tensor], array)
                    self._filled[tensor] = array
                    stamp = self._stamped(f"prepare {tensor}", stamp)
                elif self._filled[tensor] is not array:
                    array[...] = self._filled[tensor]
            for target, source in bound.input_copies:
                target[:] = source
            if bound.way is not None and self._takes_exits:
                answer, stamp = self._travel(task, bound.way, bound.decoders[0][1], stamp)
            else:
                for segment, (copies, invoke) in zip(bound.segments, bound.runs, strict=True):
                    stamp = self._ran(segment, copies, invoke, stamp)
                answer = bound.decoders[0][1]()
            for _, tensor in bound.placed:
                answer = engine._places.placed(answer, tensor, frames[tensor])  # type: ignore[arg-type]
            engine.uses += 1
            self._uses = engine.uses
        self._stamped(f"answer {task}", stamp)
        return answer

    def _ran(self, segment: str, copies: Copies, invoke: Callable[[], Any], stamp: int) -> int:
        """Run a segment unless that was done; returns the time behind it."""
        if segment in self._done:
            return stamp
        for target, source in copies:
            target[:] = source
        invoke()
        self._done.add(segment)
        return self._stamped(segment, stamp)

    def _travel(self, task: str, way: Way, decode: Callable[[], Answer], stamp: int) -> tuple[Answer, int]:
        journey = Journey(way)
        for step in way.steps:
            if journey.needs(step):
                stamp = self._ran(step.name, step.copies, step.invoke, stamp)
                journey.passed(step)
        answer = journey.left[task][1]() if task in journey.left else decode()
        assert self.exits is not None
        self.exits |= journey.finish({task: answer})
        return answer, stamp

    def _overlaps(self, task: str) -> bool:
        """Whether looking at boxes runs what whole frames need."""
        tasks = self._engine.manifest.tasks
        whole = {segment for other in tasks if other.on is None for segment in other.all_segments}
        return not whole.isdisjoint(self._engine.manifest.task(task).all_segments)

    def picture(self, task: str) -> Any:
        """The frame that a task is asked of, or that of the task whose boxes it looks at."""
        name = task
        while isinstance(self._frame, Mapping):
            if name in self._frame:
                return self._frame[name]
            on = self._engine.manifest.task(name).on
            assert on is not None
            name = on.task
        return self._frame

    def _stamped(self, part: str, since: int) -> int:
        now = self._now()
        self._add(part, (now - since) / 1000)
        return now

    def _add(self, part: str, us: float) -> None:
        self.times_us[part] = self.times_us.get(part, 0.0) + us


class _Told(Result):
    """What a turn gave; its times are sums, as there are pauses between them."""

    __slots__ = ("_segments_us", "_times_us")

    def __init__(self, turn: Turn) -> None:
        super().__init__(dict(turn.answers), (), 0, [0], 0, tuple(turn.stages), turn.exits)
        self._times_us = dict(turn.times_us)
        names = {segment.name for segment in turn._engine.manifest.segments}
        self._segments_us = {name: us for name, us in self._times_us.items() if name in names}

    @property
    def total_us(self) -> float:
        return sum(self._times_us.values())

    @property
    def preprocessing_us(self) -> float:
        return self._of("prepare ")

    @property
    def latency_us(self) -> dict[str, float]:
        return self._segments_us

    @property
    def answering_us(self) -> float:
        return self._of("answer ")

    def _of(self, kind: str) -> float:
        # A segment may be called so, too.
        return sum(us for name, us in self._times_us.items() if name.startswith(kind) and name not in self._segments_us)
