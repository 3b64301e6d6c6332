"""Energy since the start, for as long as the sensor answers; looked for again when it stops."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from multigraft.devices.power.power import PowerMeter, find_power_meter
from multigraft.devices.power.power_sampling import SampledMeter

AGAIN_S = 60.0
"""Between two searches for a sensor that was there."""


@dataclass(frozen=True)
class Reading:
    """What a meter counted: joules since the start, watts since the reading before."""

    rail: str
    source: str
    joules: float
    watts: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Power:
    """Reads the machine's power meter.

    Args:
        find: Looks for it; gives None with a reason where there is none.
        clock: Seconds, monotonic.
        fail: Is told of a sensor that stopped answering.
    """

    def __init__(
        self,
        find: Callable[[], tuple[PowerMeter | None, str]] = find_power_meter,
        clock: Callable[[], float] = time.monotonic,
        fail: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._find, self._clock, self._fail = find, clock, fail
        self._meter: PowerMeter | None = None
        self._next_search = 0.0
        self._before: dict[tuple[str, str], float] = {}
        self._then: tuple[float, dict[str, float]] = (0.0, {})
        self._open()

    def read(self) -> list[Reading]:
        """Joules and watts of each rail now, none of which lies behind another; empty without a sensor.

        A sensor that tells the sum of its rails alone gives one reading, with all their names.
        """
        now = self._clock()
        if self._meter is None:
            if self._before and now >= self._next_search:
                self._open()
            if self._meter is None:
                return []
        source = self._meter.name
        try:
            counted = _counted(self._meter)
        except Exception as error:
            # Drivers of USB meters raise what they like; no sensor is worth the service.
            self._lose(str(error) or type(error).__name__)
            return []
        then, before = self._then
        self._then = now, counted
        spent_s = now - then
        # A meter that was opened anew counts from 0.
        return [
            Reading(
                rail,
                source,
                self._before.get((rail, source), 0.0) + joules,
                (joules - before.get(rail, 0.0)) / spent_s if spent_s > 0 else 0.0,
            )
            for rail, joules in counted.items()
        ]

    def close(self) -> None:
        """Give the sensor back."""
        meter, self._meter = self._meter, None
        if meter is not None:
            with contextlib.suppress(Exception):
                meter.__exit__(None, None, None)

    def _open(self) -> None:
        self._next_search = self._clock() + AGAIN_S
        try:
            meter, _ = self._find()
            if meter is not None:
                meter.__enter__()
                self._meter, self._then = meter, (self._clock(), {})
        except Exception as error:
            self._fail(str(error) or type(error).__name__)

    def _lose(self, sentence: str) -> None:
        assert self._meter is not None
        for rail, joules in self._then[1].items():
            key = (rail, self._meter.name)
            self._before[key] = self._before.get(key, 0.0) + joules
        # Else one that is lost before its first reading would never be looked for again.
        self._before.setdefault(("+".join(self._meter.rails), self._meter.name), 0.0)
        self.close()
        self._next_search = self._clock() + AGAIN_S
        self._fail(sentence)


def _counted(meter: PowerMeter) -> dict[str, float]:
    """Rail to joules since the meter was started."""
    joules = meter.energy_j()
    each = meter.rails_j() if isinstance(meter, SampledMeter) else {}
    return each or {"+".join(meter.rails): joules}
