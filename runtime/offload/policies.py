"""Ways of answering a classification with a server's help, side by side on the same frames.

What a frame takes is put together of what was measured of it: the segments that its way needs here, the exchange with
the server as it is, and the time on the link by arithmetic (:mod:`~multigraft.runtime.offload.link`). Nothing waits for
a link that is not there, so that ways with and without a server are measured in turn, frame by frame.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigraft.errors import UsageError
from multigraft.runtime.answers import Classification
from multigraft.runtime.benchmark import Distribution
from multigraft.runtime.energy.estimate import Table, estimate
from multigraft.runtime.engine import Engine
from multigraft.runtime.offload.cuts import segments_before
from multigraft.runtime.offload.jpeg_input import QUALITIES, through_jpeg
from multigraft.runtime.offload.link import Link
from multigraft.runtime.offload.offloading import Offloading, Sends
from multigraft.tensors.preparation import Frame

LOCAL, REMOTE, INPUT, CONDITIONAL = "always-local", "always-remote", "send-input", "conditional"
JPEGS: Mapping[str, int] = {f"send-jpeg-{quality}": quality for quality in QUALITIES}
"""Name to quality; the server is sent the input that it would have decoded, and bytes are those of the file."""
POLICIES: Mapping[str, Sends | None] = {
    LOCAL: None, REMOTE: "cut", INPUT: "input", **dict.fromkeys(JPEGS, "input"), CONDITIONAL: "any",
}  # fmt: skip
"""Name to what a server is sent; None where none is asked."""

MOST_KEPT = 16
"""Frames for warming up; they go round."""

Connect = Callable[[Engine, str], Offloading]
"""Engine and name of a policy to what asks the server."""


@dataclass
class Tally:
    """What became of the frames of one policy.

    Attributes:
        policy: Its name.
        frames: How many.
        agreed: Answers that are those of the whole network on the device.
        right: Answers that are the label; None without labels.
        exited: Frames that left early.
        remote: Frames that the server answered.
        why: Reasons why the server did not answer a frame that it was asked for, or was not asked, to their number.
        bytes_sent: Bodies of requests, all frames; of JPEG the files.
        times_us: Of each frame, microseconds.
        energy_j: Estimate of what the device computes, all frames, joules; the radio is not in it.
    """

    policy: str
    frames: int = 0
    agreed: int = 0
    right: int | None = None
    exited: int = 0
    remote: int = 0
    why: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    times_us: list[float] = field(default_factory=list)
    energy_j: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data, a frame."""
        return {
            "policy": self.policy,
            "frames": self.frames,
            "agreement": self.agreed / self.frames,
            "accuracy": None if self.right is None else self.right / self.frames,
            "exit_rate": self.exited / self.frames,
            "server_rate": self.remote / self.frames,
            "local_because": dict(sorted(self.why.items())),
            "bytes_sent": self.bytes_sent / self.frames,
            "time_us": vars(Distribution.of(self.times_us)),
            "estimated_device_energy_j": self.energy_j / self.frames,
        }


class _Way:
    """One policy, ready to answer frames."""

    def __init__(
        self, policy: str, engine: Engine, task: str, connect: Connect, link: Link | None, table: Table
    ) -> None:
        self.tally = Tally(policy)
        self._engine, self._task, self._link = engine, task, link
        self._server = None if POLICIES[policy] is None else connect(engine, policy)
        self._energy_j = estimate(engine.manifest, tuple(s.name for s in engine.manifest.segments), table).segments_j

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, frame: Frame) -> int:
        """The class; counts everything but whether it is right."""
        quality, coded, coding_us = JPEGS.get(self.tally.policy), 0, 0.0
        if quality is not None:
            started = time.perf_counter()
            frame, coded = through_jpeg(frame, quality)
            coding_us = (time.perf_counter() - started) * 1e6
        result = self._engine.run(frame, (self._task,))
        answer, ran, tally = result.answers[self._task], result.latency_us, self.tally
        taken_us, is_early = result.total_us, bool(result.exits)
        if self._server is not None:
            before, begun = self._server.bytes_sent, time.monotonic()
            answers, origins = self._server.improve({self._task: frame}, result.answers, begun, result.exits)
            asking_us = (time.monotonic() - begun) * 1e6
            size, origin = coded or self._server.bytes_sent - before, origins[self._task]
            answer = answers[self._task]
            if tally.policy != CONDITIONAL and origin.is_remote:
                # What lies behind the cut runs here for its local answer, which this policy does without.
                ran = {name: ran[name] for name in segments_before(self._engine.manifest, self._task, origin.cut)}
                # A frame that goes there itself is prepared with the request.
                taken_us = result.preprocessing_us + sum(ran.values()) if ran else 0.0
            on_link_us = self._link.seconds_for(size) * 1e6 if self._link is not None and size else 0.0
            taken_us += coding_us + asking_us + on_link_us
            tally.bytes_sent += size
            tally.remote += origin.is_remote
            if not origin.is_remote:
                tally.why[origin.why] += 1
        assert isinstance(answer, Classification)
        tally.frames += 1
        tally.exited += is_early
        tally.energy_j += sum(self._energy_j[name] for name in ran)
        tally.times_us.append(taken_us)
        return answer.index


def compare_policies(
    policies: Sequence[str],
    whole: Engine,
    early: Engine,
    task: str,
    frames: Iterable[Frame],
    connect: Connect,
    *,
    labels: Sequence[int] | None = None,
    link: Link | None = None,
    table: Table,
    warmup: int = 0,
) -> list[Tally]:
    """Answer frames by every policy in turn.

    Args:
        policies: Names of :data:`POLICIES`.
        whole: Runs the bundle without early exits.
        early: Runs it with those that it has, for the conditional policy.
        task: A classification.
        frames: At least one; taken one by one, since those of a camera may be large.
        connect: Makes what asks the server.
        labels: The right class of each frame.
        link: What each request takes on it comes on top; None where the link to the server is the real one.
        table: Picojoules, for the estimate.
        warmup: Frames before, which are not counted; they meet the server's first slow answers.

    Raises:
        UsageError: There is no frame.
    """
    coming = iter(frames)
    kept = list(itertools.islice(coming, min(max(warmup, 1), MOST_KEPT)))
    if not kept:
        raise UsageError("there are no frames to measure on", "give at least one")
    ways = [_Way(p, early if p == CONDITIONAL else whole, task, connect, link, table) for p in policies]
    try:
        for number in range(warmup):
            for way in ways:
                way.answer(kept[number % len(kept)])
        for way in ways:
            way.tally = Tally(way.tally.policy, right=None if labels is None else 0)
        for number, frame in enumerate(itertools.chain(kept, coming)):
            truth = whole.run(frame, (task,)).answers[task]
            assert isinstance(truth, Classification)
            # Turned round every time: what one way leaves in caches and connections meets all others.
            for way in ways if number % 2 else ways[::-1]:
                said = way.answer(frame)
                way.tally.agreed += said == truth.index
                if labels is not None:
                    way.tally.right = (way.tally.right or 0) + (said == labels[number])
    finally:
        for way in ways:
            way.close()
    return [way.tally for way in ways]
