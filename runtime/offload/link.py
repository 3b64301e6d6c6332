"""A link to a server in two numbers, as ``tc netem`` and people name it: ``5mbit,200ms``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

from multigraft.errors import UsageError
from multigraft.reading import printable

_RATES = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_FORM = re.compile(r"([0-9.]+)(kbit|mbit|gbit)(?:,([0-9.]+)(us|ms|s))?")


@dataclass(frozen=True)
class Link:
    """What it carries.

    Attributes:
        bytes_per_s: Towards the server.
        round_trip_s: Seconds there and back, of nothing.
    """

    bytes_per_s: float
    round_trip_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """``RATE[,ROUNDTRIP]``.

        Raises:
            UsageError: It is no such text.
        """
        shown = printable(text)
        match = _FORM.fullmatch(text.strip().lower())
        try:
            if match is None:
                raise ValueError
            rate = float(match[1]) * _RATES[match[2]] / 8
            trip = float(match[3]) * _TIMES[match[4]] if match[3] else 0.0
        except ValueError:
            raise UsageError(f"{shown} is no link", "write rate and round trip: 5mbit,200ms") from None
        if not (rate > 0 and math.isfinite(rate) and math.isfinite(trip)):
            raise UsageError(f"{shown} carries nothing", "write rate and round trip: 5mbit,200ms")
        return cls(rate, trip)

    def seconds_for(self, size: float) -> float:
        """From the first byte that is sent to an answer of a few bytes, seconds."""
        return self.round_trip_s + size / self.bytes_per_s
