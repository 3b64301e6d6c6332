"""A frame on its way through segments, some of which decide whether others are still needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.exits.draws import Draws
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.exits.exit_gate import ExitGate

_ALL = slice(None)
_now = time.perf_counter_ns

Copies = tuple[tuple[memoryview, memoryview], ...]
"""Bytes to copy, as (target, source)."""
Run = tuple[Copies, Callable[[], Any]]
"""Of a segment: the boundary tensors that it reads, and what runs it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One segment.

    Attributes:
        name: Its name.
        copies: Bytes of the boundary tensors that it reads, as (target, source).
        invoke: Runs it.
        tasks: Those that need it, a bit each.
        gate: What decides behind it; None where it is no exit.
        decode: Reads the early answer; None where it is no exit.
    """

    name: str
    copies: Copies
    invoke: Callable[[], Any]
    tasks: int
    gate: ExitGate | None = None
    decode: Callable[[], Answer] | None = None


@dataclass(frozen=True)
class Way:
    """All that frames of one choice of tasks go through, where one of these has exits.

    Attributes:
        steps: Segments in running order.
        every: A bit for each task.
        marginal: Exits whose promise is of all frames.
        random: Draws the frames that are audited.
    """

    steps: tuple[Step, ...]
    every: int
    marginal: tuple[ExitGate, ...]
    random: Draws


def way_of(
    tasks: Sequence[str],
    segments: Sequence[str],
    runs: Sequence[Run],
    needs: Mapping[str, Sequence[str]],
    gates: Mapping[str, tuple[ExitGate, Callable[[], Answer]]],
    draws: Draws,
) -> Way:
    """The way of these tasks.

    Args:
        tasks: Which are answered.
        segments: All that they or their exits need, in running order.
        runs: (copies, invoke) of each segment.
        needs: Task to its segments, without those of exits.
        gates: Segment of an exit to its gate and what reads its answer.
        draws: Draws the frames that are audited.
    """
    bits = {task: 1 << number for number, task in enumerate(tasks)}
    steps = []
    for name, (copies, invoke) in zip(segments, runs, strict=True):
        gate, decode = gates.get(name, (None, None))
        users = bits[gate.task] if gate is not None else sum(bits[t] for t in tasks if name in needs[t])
        steps.append(Step(name, copies, invoke, users, gate, decode))
    used = [step.gate for step in steps if step.gate is not None]
    marginal = tuple(g for g in used if g.policy.promise.kind == "marginal" and not g.policy.is_far)
    return Way(tuple(steps), sum(bits.values()), marginal, draws)


class Journey:
    """One frame on a way: ask :meth:`needs` before each step, and call :meth:`passed` after it.

    Attributes:
        left: Task to the exit by which it left, and what reads its answer.
    """

    __slots__ = ("_audited", "_chances", "_compared", "_open", "_way", "left")

    def __init__(self, way: Way) -> None:
        self._way = way
        self._open = way.every
        self._audited: dict[str, tuple[ExitGate, Answer]] = {}
        self._chances: dict[str, float] = {}
        self._compared: list[ExitGate] = []
        self.left: dict[str, tuple[ExitGate, Callable[[], Answer]]] = {}

    def needs(self, step: Step) -> bool:
        """Whether a task that has not left needs the step; an exit that is closed, or behind one to audit, is none."""
        if not step.tasks & self._open:
            return False
        gate = step.gate
        return gate is None or (gate.is_open and gate.task not in self._audited)

    def passed(self, step: Step) -> None:
        """Decide, where the step is an exit."""
        gate = step.gate
        if gate is None:
            return
        gate.reached += 1
        if gate.memory is not None:
            self._compared.append(gate)
        if gate.policy.is_far:
            self._look(step, gate)
            return
        is_audited = self._is_audited(gate)
        if not gate.is_sure():
            return
        gate.taken += 1
        assert step.decode is not None
        if is_audited:
            self._audited[gate.task] = gate, step.decode()
            return
        self._open &= ~step.tasks
        self.left[gate.task] = gate, step.decode

    def _look(self, step: Step, gate: ExitGate) -> None:
        """Leave where the frame is far. All frames are watched: that takes none to the end."""
        is_far = gate.is_sure()
        gate.watched(is_far)
        if is_far and step.decode is not None:
            gate.taken += 1
            self._open &= ~step.tasks
            self.left[gate.task] = gate, step.decode

    def finish(self, answers: Mapping[str, Answer]) -> dict[str, str]:
        """Tell the audits what the whole network answered.

        Args:
            answers: Task to its answer.

        Returns:
            Task to the segment of the exit that answered it; tasks that went to the end are not in it.
        """
        for gate in self._compared:
            # In doubt, frames are compared with what would be repeated: else all looks well while it lasts.
            is_tested = gate.task in self._audited and gate.audit.is_in_doubt
            if gate.memory is not None and gate.task not in self.left and not is_tested:
                gate.memory.keep(answers[gate.task])
        for task, (gate, early) in self._audited.items():
            whole = answers[task]
            assert isinstance(early, Classification) and isinstance(whole, Classification)
            gate.audited(early.index == whole.index)
        for other in self._way.marginal:
            # A frame that did not take the exit cannot have broken its promise.
            taken = self._audited.get(other.task) or self.left.get(other.task)
            is_other = taken is None or taken[0] is not other
            if other.is_open and is_other and self._is_audited(other):
                other.audited(True)
        return {task: gate.policy.segment for task, (gate, _) in self.left.items()}

    def _is_audited(self, gate: ExitGate) -> bool:
        """Whether the frame is among those that audit this exit; one draw a task serves all of its exits."""
        share = gate.audited_share
        if not share:
            return False
        if gate.task not in self._chances:
            self._chances[gate.task] = self._way.random.random()
        return self._chances[gate.task] < share


def travel(
    way: Way, decoders: Sequence[tuple[str, Callable[[], Answer]]], stamp: Callable[[int], None]
) -> tuple[tuple[str, ...], dict[str, Answer], dict[str, str]]:
    """Run a frame along its way.

    Args:
        way: Of the tasks.
        decoders: (task, what reads its answer at the end) per task.
        stamp: Takes the time, nanoseconds, behind every segment that ran.

    Returns:
        The segments that ran, the answers by task, and by task the exits that gave them.
    """
    journey, ran = Journey(way), []
    for step in way.steps:
        if journey.needs(step):
            for target, source in step.copies:
                target[_ALL] = source
            step.invoke()
            ran.append(step.name)
            journey.passed(step)
            stamp(_now())
    left = journey.left
    answers = {name: left[name][1]() if name in left else decode() for name, decode in decoders}
    return tuple(ran), answers, journey.finish(answers)
