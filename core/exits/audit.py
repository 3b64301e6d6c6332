"""Whether a promise still holds while an exit is used: a bet that may be looked at after every frame.

A share of the frames that take an exit runs to the end as well, and what the whole network says is the truth. Whoever
doubts that the exit disagrees on at most ``p`` of the frames bets on every audited one: with a fraction ``c`` of the
capital, ``1 + c * (x - p) / p`` of it is left, where ``x`` is 1 for a frame that disagrees and 0 else. While the
promise holds the capital is expected not to grow, so that it ever reaches ``1 / risk`` with a probability of ``risk``
at most (Ville), however long it goes on and whenever one looks: Waudby-Smith and Ramdas, arXiv 2110.06177, 2010.09686.

Capital that was lost in good times would have to be won back first when things change. So new gamblers come, the bold
ones more often, the ``k``-th with a share of ``1 / (k (k + 1))`` of the first capital, which waits till then; the sum
of all of it is looked at.

After a long good time that share is small, and much has to be seen before the sum is large. So a second statistic says
when to look closer: of each fraction, what a stake of 1 has become that is laid anew whenever less than it is left
(CUSUM of the same bets, as in e-detectors: Shin, Ramdas and Rinaldo, arXiv 2203.03532). No past slows it. It closes
nothing. While it is in doubt every frame that takes the exit is audited, hence answered by the whole network, so
that no early answer is wrong until the bet is decided. Which frames are bet on may depend on what was seen before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Of the capital that is staked, by gamblers of equal shares; the best is about the share that disagrees."""

PERIODS = tuple(round(4 / fraction) for fraction in FRACTIONS)
"""Audited frames from one gambler of a fraction to the next: what the later share costs and what the earlier gambler
has lost by then, in logarithms, are least together."""

DOUBT = 4.0
"""What a stake of 1 has to become for the promise to be in doubt. At 1 %, one frame that disagrees is enough for the
bolder bets, and ten that agree then end the doubt."""

RISK = 0.05
"""Probability that an exit is ever closed although it keeps its promise."""


@dataclass
class Audit:
    """The bet against one exit.

    Attributes:
        allowed: Share of the frames that may disagree, above 0 and below 1.
        risk: Probability of ever closing an exit that keeps it.
        audited: Frames so far.
        disagreed: How many of them did.
        is_broken: The promise is refuted; stays so.
    """

    allowed: float
    risk: float = RISK
    audited: int = 0
    disagreed: int = 0
    is_broken: bool = False
    _capitals: list[float] = field(default_factory=lambda: [0.0] * len(FRACTIONS), repr=False)
    _renewed: list[float] = field(default_factory=lambda: [1.0] * len(FRACTIONS), repr=False)

    @functools.cached_property
    def gains(self) -> list[tuple[float, float]]:
        """What a capital is multiplied by, for each fraction: of a frame that disagrees, and of one that agrees."""
        return [(1 + stake * (1 - self.allowed) / self.allowed, 1 - stake) for stake in FRACTIONS]

    @property
    def capital(self) -> float:
        """What all gamblers have together, with what is kept for those to come; 1 at first."""
        # One addition after the other, as boards do it: sum() of Python 3.12 rounds otherwise.
        together = 0.0
        for capital, period in zip(self._capitals, PERIODS, strict=True):
            together += capital + 1 / (-(-self.audited // period) + 1)
        return together / len(FRACTIONS)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last frames speak against the promise, so that all are worth looking at."""
        return max(self._renewed) >= DOUBT

    def add(self, agrees: bool) -> bool:
        """Take an audited frame.

        Args:
            agrees: The exit answers it as the whole network does.

        Returns:
            Whether the promise is refuted.
        """
        before, gains = self.audited, self.gains
        self.audited += 1
        self.disagreed += not agrees
        for number, period in enumerate(PERIODS):
            came, since = divmod(before, period)
            share = 0.0 if since else 1 / ((came + 1) * (came + 2))
            gain = gains[number][agrees]
            self._capitals[number] = (self._capitals[number] + share) * gain
            # A capital beyond all floats is as good as 1e300.
            self._renewed[number] = min(max(self._renewed[number], 1.0) * gain, 1e300)
        if not self.is_broken and self.capital >= 1 / self.risk:
            self.is_broken = True
        if self.is_broken:
            self._capitals = [min(capital, 1e300) for capital in self._capitals]
        return self.is_broken
