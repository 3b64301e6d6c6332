"""What the service knows of itself; counted for every frame, so it is made of cheap steps."""

from __future__ import annotations

import bisect
import collections
import time
from collections.abc import Callable, Collection
from typing import Any

from multigraft.bundle.manifest import Manifest
from multigraft.runtime.result import Result

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the histogram's buckets, seconds; a frame of a camera of 30 a second has 0.033."""
RATE_FRAMES = 64
"""Over so many frames the rate is told."""


class Histogram:
    """Counts of times.

    Attributes:
        sum: Seconds, of all.
        count: How many there are.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.sum += seconds
        self.count += 1

    def to_json(self) -> dict[str, Any]:
        """Upper bound, as Prometheus writes it, to how many were at most that; and the sum."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return {"buckets": buckets, "sum": self.sum}


class Figures:
    """Counters of one process.

    Args:
        manifest: Of the bundle.
        tasks: Those that are answered; None for all.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, manifest: Manifest, tasks: Collection[str] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        answered = [task for task in manifest.tasks if tasks is None or task.name in tasks]
        self._segments = {task.name: task.all_segments for task in answered if task.on is None}
        self.times = {task.name: Histogram() for task in answered}
        self.frames = 0
        self.errors: collections.Counter[str] = collections.Counter()
        self.requests: collections.Counter[str] = collections.Counter()
        self.broker: Callable[[], dict[str, Any]] | None = None
        """Tells how MQTT does; None where nothing is told to a broker."""
        self.schedule: Callable[[], dict[str, Any]] = dict
        """Tasks that have rates of their own: the rate, and deadlines met and missed."""
        self.exits: Callable[[], dict[str, Any]] = dict
        """Early exits by segment: the task, how many frames reached and took it, and what its audit found."""
        self.offload: Callable[[], dict[str, Any]] | None = None
        """Tells how the server does that hard frames go to; None where there is none."""
        self._ends: collections.deque[float] = collections.deque(maxlen=RATE_FRAMES)
        self._started = clock()

    def answered(self, result: Result) -> None:
        """Count a frame."""
        latency_us = result.latency_us
        for name, segments in self._segments.items():
            if name in result.answers:
                self.times[name].add(sum([latency_us.get(segment, 0.0) for segment in segments]) / 1e6)
        for stage in result.stages:
            for name in stage.stage.tasks:
                if name in self.times:
                    self.times[name].add(stage.us / 1e6)
        self.frames += 1
        self._ends.append(self._clock())

    @property
    def rate_hz(self) -> float:
        """Frames a second over the last ones, counted up to now: it falls when none come any more."""
        ends = list(self._ends)
        if len(ends) < 2:
            return 0.0
        last = max(ends[-1], self._clock() - (ends[-1] - ends[0]) / (len(ends) - 1))
        return (len(ends) - 1) / max(1e-9, last - ends[0])

    @property
    def age_s(self) -> float | None:
        """Seconds since the last frame was answered; None before the first."""
        ends = list(self._ends)
        return self._clock() - ends[-1] if ends else None

    @property
    def uptime_s(self) -> float:
        """Since this was made."""
        return self._clock() - self._started

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "frames": self.frames,
            "rate_hz": self.rate_hz,
            "age_s": self.age_s,
            "uptime_s": self.uptime_s,
            "tasks": {name: times.to_json() for name, times in self.times.items()},
            "errors": dict(self.errors),
            "requests": dict(self.requests),
            "mqtt": None if self.broker is None else self.broker(),
            "schedule": self.schedule(),
            "exits": self.exits(),
            "offload": None if self.offload is None else self.offload(),
        }
