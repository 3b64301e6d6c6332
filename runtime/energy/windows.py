"""Energy of something that is repeated, by windows in step with it.

A round is a window at rest and one at work, in turns of order so that a drift of the board goes; both lie well inside
their phase, since a sensor tells of a change late. Where readings come at a fixed pace, each load begins at another
point between two of them: what repeats in step with the sampling is then met at another point by each window. Its error
is chance, and chance is what the spread over windows tells (sampling at a fixed pace from a random start is unbiased
for any curve). The points follow the golden ratio from a random first one, so that few windows cover all of the way.

How many rounds are needed is decided once, from the first ones, by Stein's two stages (Annals of Mathematical
Statistics 16, 1945): the interval keeps its confidence, which looking again and again until it is narrow enough would
spoil.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.devices.power.power import PowerMeter
from multigraft.errors import InputError
from multigraft.runtime.energy.figure import Figure, student_quantile

GOLDEN = (math.sqrt(5) - 1) / 2

LEAST_SAMPLES = 20
"""New values of the sensor in a window; its ends are known to a part of one."""

LEAST_WINDOW_S = 0.4
SETTLING = 2.5
"""Sensor intervals between a change of load and the nearest end of a window."""

PILOT = 8
"""Rounds from which the spread is judged."""

MOST_ROUNDS = 500

_LEAST_PART = 0.3
"""Of the error asked for, for chance, where the sensor alone takes nearly all or more."""


@dataclass(frozen=True)
class Round:
    """One window at rest and one at work, one after the other.

    Attributes:
        rest_w: Mean watts at rest.
        work_j: Joules of the window at work.
        work_s: Its length.
        repetitions: Frames in it.
        is_still: Whether readings at work spread less than the sensor tells apart: its rounding is no chance then.
    """

    rest_w: float
    work_j: float
    work_s: float
    repetitions: int
    is_still: bool

    @property
    def energy_j(self) -> float:
        """Of one repetition, without what would have been drawn at rest."""
        return (self.work_j - self.rest_w * self.work_s) / self.repetitions


class Bench:
    """Measures loads under one meter, which has been entered.

    Args:
        meter: Of power or energy.
        clock: Seconds, monotonic, of the meter as well.
        sleep: Waits so many seconds.
        chance: Gives a number of 0 to 1.

    Attributes:
        spans: Beginning and end of each window so far, and whether it was one at work.
    """

    def __init__(
        self,
        meter: PowerMeter,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.meter = meter
        self._clock, self._sleep = clock, sleep
        self._number = 0
        self._first = chance()
        self._rests_w: list[float] = []
        self.spans: list[tuple[float, float, bool]] = []

    @property
    def window_s(self) -> float:
        """Of each window."""
        return max(LEAST_WINDOW_S, 2 * LEAST_SAMPLES * self.meter.accuracy.interval_s)

    @property
    def pilot_s(self) -> float:
        """What the first rounds take, which every measurement needs."""
        return PILOT * (2 * self.window_s + (4 * SETTLING + 1) * self.meter.accuracy.interval_s)

    @property
    def rest_w(self) -> float:
        """Mean watts at rest, over all rounds so far."""
        return float(np.mean(self._rests_w)) if self._rests_w else 0.0

    def measure(self, load: Callable[[], None], error: float, seconds: float, once: bool = False) -> Figure:
        """Joules of one call of ``load``, idle power subtracted.

        Args:
            load: What is repeated.
            error: Relative, at 95 % confidence: rounds are added until it is reached.
            seconds: How long that may take; then it is told how far it came.
            once: A window holds one call.

        Raises:
            DeviceError: The meter stopped answering.
            InputError: A single call is too short for this sensor.
        """
        interval_s = self.meter.accuracy.interval_s
        window_s = self.window_s
        if once:
            self._refuse_short(load, interval_s)
            window_s = 0.0
        began = self._clock()
        rounds = [self._round(load, window_s, once) for _ in range(PILOT)]
        round_s = (self._clock() - began) / PILOT
        wanted = rounds_needed(rounds, self._sensor_j(rounds), error)
        affordable = int(seconds / round_s) if round_s > 0 else MOST_ROUNDS
        for _ in range(min(wanted, max(affordable, PILOT), MOST_ROUNDS) - PILOT):
            rounds.append(self._round(load, window_s, once))
        return figure_of(rounds, self._sensor_j(rounds))

    def _refuse_short(self, load: Callable[[], None], interval_s: float) -> None:
        load()
        start = self._clock()
        load()
        took_s = self._clock() - start
        if took_s < LEAST_SAMPLES * interval_s:
            raise InputError(
                f"one inference takes {took_s * 1000:.3g} ms, and {self.meter.name} gives a value every "
                f"{interval_s * 1000:.3g} ms, so that one alone can't be told",
                f"leave --single out to measure many in a row, or use a sensor of {LEAST_SAMPLES / took_s:,.0f} Hz",
            )

    def _round(self, load: Callable[[], None], window_s: float, once: bool) -> Round:
        interval_s = self.meter.accuracy.interval_s
        settle_s = SETTLING * interval_s
        self._number += 1
        if self._number % 2:
            rest = self._rest(window_s or LEAST_WINDOW_S, settle_s)
            self._shift(interval_s)
            work = self._work(load, window_s, settle_s, once)
        else:
            self._shift(interval_s)
            work = self._work(load, window_s, settle_s, once)
            rest = self._rest(window_s or LEAST_WINDOW_S, settle_s)
        self._sleep(settle_s)
        curve = self.meter.curve()
        start_s, end_s, count = work
        step_w = self.meter.accuracy.step_w
        rest_w = curve.between(*rest) / (rest[1] - rest[0])
        self._rests_w.append(rest_w)
        self.spans += [(*rest, False), (start_s, end_s, True)]
        return Round(
            rest_w,
            curve.between(start_s, end_s),
            end_s - start_s,
            count,
            bool(np.std(curve.inside(start_s, end_s)) < step_w / 2) if step_w else False,
        )

    def _shift(self, interval_s: float) -> None:
        """Wait for this round's point between two readings; random ones need none."""
        if self.meter.accuracy.is_random:
            return
        wanted = (self._first + self._number * GOLDEN) % 1
        since_s = self._clock() - float(self.meter.curve().times_s[-1])
        self._sleep((wanted * interval_s - since_s) % interval_s)

    def _rest(self, window_s: float, settle_s: float) -> tuple[float, float]:
        self._sleep(settle_s)
        start_s = self._clock()
        self._sleep(window_s)
        end_s = self._clock()
        self._sleep(settle_s)
        return start_s, end_s

    def _work(self, load: Callable[[], None], window_s: float, settle_s: float, once: bool) -> tuple[float, float, int]:
        """From the beginning of one call to the end of another; before and after, calls go on."""
        until_s = self._clock() + settle_s
        while self._clock() < until_s:
            load()
        start_s = end_s = self._clock()
        count = 0
        while end_s - start_s < window_s or not count:
            load()
            count += 1
            end_s = self._clock()
            if once:
                break
        until_s = end_s + settle_s
        while self._clock() < until_s:
            load()
        return start_s, end_s, count

    def _sensor_j(self, rounds: Sequence[Round]) -> float:
        """Gain errors are the same in every window; an offset goes with the power at rest; rounding stays where the
        power stands still between two steps of the sensor."""
        accuracy = self.meter.accuracy
        mean_j = float(np.mean([r.energy_j for r in rounds]))
        still = [r.work_s / r.repetitions for r in rounds if r.is_still]
        return accuracy.gain * abs(mean_j) + accuracy.step_w * sum(still) / len(rounds)


def rounds_needed(pilot: Sequence[Round], sensor_j: float, error: float) -> int:
    """How many rounds in all keep the bound within ``error`` of the mean, as far as chance decides it."""
    energies = [r.energy_j for r in pilot]
    mean = abs(float(np.mean(energies)))
    left = max(error * mean - sensor_j, _LEAST_PART * error * mean)
    if left <= 0:
        return MOST_ROUNDS
    half = student_quantile(len(pilot) - 1) * float(np.std(energies, ddof=1))
    return max(len(pilot), math.ceil(min((half / left) ** 2, MOST_ROUNDS)))


def figure_of(rounds: Sequence[Round], sensor_j: float) -> Figure:
    """The mean, and the wider of what the first rounds and all of them tell of chance."""
    energies = np.array([r.energy_j for r in rounds])
    parts = [energies[:PILOT], energies]
    half = max(student_quantile(len(part) - 1) * float(np.std(part, ddof=1)) for part in parts)
    return Figure(
        float(energies.mean()),
        half / math.sqrt(len(energies)),
        sensor_j,
        len(rounds),
        sum(r.repetitions for r in rounds),
    )
