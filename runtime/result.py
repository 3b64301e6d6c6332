"""What one frame gave, and how long it took."""

from __future__ import annotations

from typing import Any

from multigraft.runtime.answers import Answer
from multigraft.runtime.cascades import StageTime


class Result:
    """What one frame gave.

    Attributes:
        answers: Task name to answer; its type depends on the task's kind (:mod:`multigraft.runtime.answers`). Of a
            task that looks at boxes, :class:`~multigraft.answers.per_box.PerBox`, or all that a detector found in them.
        stages: What looking at boxes took; empty where no task does.
        exits: Of a bundle with early exits, task to the segment of the exit that answered it; tasks that the whole
            network answered are not in it. None where there are no exits.
    """

    __slots__ = ("_end", "_segments", "_stamps", "_start", "answers", "exits", "stages")

    def __init__(
        self,
        answers: dict[str, Answer],
        segments: tuple[str, ...],
        start: int,
        stamps: list[int],
        end: int,
        stages: tuple[StageTime, ...] = (),
        exits: dict[str, str] | None = None,
    ) -> None:
        self.answers = answers
        self.exits = exits
        self.stages = stages
        self._segments = segments
        self._start = start
        self._stamps = stamps
        self._end = end

    @property
    def total_us(self) -> float:
        """Everything :meth:`Engine.run` did, in microseconds."""
        return (self._end - self._start) / 1000

    @property
    def preprocessing_us(self) -> float:
        """From the frame to the network inputs, in microseconds."""
        return (self._stamps[0] - self._start) / 1000

    @property
    def latency_us(self) -> dict[str, float]:
        """Segment name to microseconds, in running order, each with the copies of its inputs."""
        stamps = self._stamps
        return {name: (stamps[i + 1] - stamps[i]) / 1000 for i, name in enumerate(self._segments)}

    @property
    def answering_us(self) -> float:
        """From the last output tensor to the answers, in microseconds, without what looks at boxes."""
        return (self._end - self._stamps[-1]) / 1000 - sum(stage.us for stage in self.stages)

    def followed(self, answers: dict[str, Answer], stages: tuple[StageTime, ...], end: int) -> Result:
        """This one with what was asked of its boxes."""
        return Result({**self.answers, **answers}, self._segments, self._start, self._stamps, end, stages, self.exits)

    def to_json(self) -> dict[str, Any]:
        """Plain data: answers by task, exits by task where there are some, and latencies in microseconds."""
        stages = {"stages": [stage.to_json() for stage in self.stages]} if self.stages else {}
        return {
            "answers": {task: answer.to_json() for task, answer in self.answers.items()},
            **({} if self.exits is None else {"exits": self.exits}),
            "latency_us": {
                "total": round(self.total_us, 1),
                "preprocessing": round(self.preprocessing_us, 1),
                "segments": {name: round(value, 1) for name, value in self.latency_us.items()},
                "answering": round(self.answering_us, 1),
                **stages,
            },
        }
