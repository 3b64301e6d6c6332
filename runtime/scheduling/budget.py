"""What gives way when the machine draws too much power or becomes too hot: rates, in a stated order, and back again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from multigraft.runtime.scheduling.rates import TaskRate, spelt

FACTORS = (Fraction(1, 2), Fraction(1, 4))
"""Of a task's rate: it is halved, then halved again, before the next task's turn."""
MEAN_S = 5.0
"""Over so long power is averaged."""
SETTLE_S = 15.0
"""After a step it is waited for so long: a heat sink and the average have to follow."""
RAISE_S = 60.0
"""So long all has to be well below the limit before a rate is raised."""
LONGEST_RAISE_S = 960.0
"""A raise that had to be taken back makes the next one wait twice as long, up to this."""
POWER_SLACK = 0.9
"""Of the limit: below that it is well."""
TEMPERATURE_SLACK_C = 5.0


@dataclass(frozen=True)
class Change:
    """Other rates.

    Attributes:
        rates: From now on.
        is_raise: Whether one was raised; else one was lowered.
        why: A sentence without its full stop.
    """

    rates: tuple[TaskRate, ...]
    is_raise: bool
    why: str


class Budget:
    """Looks at power and temperature, and says when rates have to change.

    Tasks of the lowest priority are lowered first, of those of one priority the fastest first, each by
    :data:`FACTORS`; they are raised in the opposite order.

    Args:
        rates: Those asked for.
        most_w: Watts; None for no limit.
        most_c: Degrees Celsius of the hottest zone; None for no limit.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        rates: Sequence[TaskRate],
        most_w: float | None = None,
        most_c: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked, self._most_w, self._most_c, self._clock = tuple(rates), most_w, most_c, clock
        order = sorted(rates, key=lambda rate: (rate.priority, -rate.rate_hz))
        self.steps = tuple((rate.task, factor) for rate in order for factor in FACTORS)
        self.level = 0
        """How many of :attr:`steps` are taken."""
        self._readings: list[tuple[float, float]] = []
        self._next_step_s = self._clock()
        self._well_since: float | None = None
        self._raise_s = RAISE_S
        self._raised_s: float | None = None

    @property
    def rates(self) -> tuple[TaskRate, ...]:
        """Those of now."""
        factors = dict(self.steps[: self.level])
        return tuple(rate.times(factors.get(rate.task, Fraction(1))) for rate in self._asked)

    def look(self, watts: float | None, temperature_c: float | None) -> Change | None:
        """Once a second or so; what is None now is not known, and lowers nothing.

        Returns:
            A change, if it is time for one.
        """
        now = self._clock()
        power_w = self._mean(watts, now)
        over = _over("W", power_w, self._most_w) or _over("°C", temperature_c, self._most_c)
        if over:
            self._well_since = None
            return self._lower(over, now)
        if not self._is_well(power_w, temperature_c):
            self._well_since = None
            return None
        self._well_since = now if self._well_since is None else self._well_since
        if self.level and now - self._well_since >= self._raise_s and now >= self._next_step_s:
            self.level -= 1
            self._well_since, self._raised_s = None, now
            return self._change(now, True, "there is room again")
        return None

    def _lower(self, over: str, now: float) -> Change | None:
        if now < self._next_step_s or self.level == len(self.steps):
            return None
        if self._raised_s is not None:
            # The last raise was one too many: the next one waits longer, so that rates do not swing.
            is_soon = now - self._raised_s < self._raise_s
            self._raise_s = min(LONGEST_RAISE_S, self._raise_s * 2) if is_soon else RAISE_S
            self._raised_s = None
        self.level += 1
        return self._change(now, False, over)

    def _change(self, now: float, is_raise: bool, why: str) -> Change:
        self._next_step_s = now + SETTLE_S
        self._readings.clear()
        task = self.steps[self.level if is_raise else self.level - 1][0]
        what = "raised" if is_raise else "lowered"
        return Change(self.rates, is_raise, f"{why}: the rate of {task} was {what}, now {spelt(self.rates)}")

    def _mean(self, watts: float | None, now: float) -> float | None:
        """None until there are readings of :data:`MEAN_S`."""
        if watts is None:
            return None
        self._readings.append((now, watts))
        while self._readings[-1][0] - self._readings[0][0] > MEAN_S:
            self._readings.pop(0)
        if self._readings[-1][0] - self._readings[0][0] < MEAN_S * 0.7:
            return None
        return sum(value for _, value in self._readings) / len(self._readings)

    def _is_well(self, power_w: float | None, temperature_c: float | None) -> bool:
        """Whether what is limited is known, and below its limit by the slack."""
        is_cool = self._most_c is None or (
            temperature_c is not None and temperature_c <= self._most_c - TEMPERATURE_SLACK_C
        )
        return is_cool and (self._most_w is None or (power_w is not None and power_w <= POWER_SLACK * self._most_w))


def _over(unit: str, value: float | None, most: float | None) -> str:
    if value is None or most is None or value <= most:
        return ""
    return f"{value:.3g} {unit} where {most:.3g} {unit} may be"
