"""Which frames are audited: a small generator that boards have, too, so that a seed draws the same frames anywhere."""

from __future__ import annotations

_BITS64 = (1 << 64) - 1
_MULTIPLIER = 6364136223846793005
_INCREMENT = 54 << 1 | 1


class Draws:
    """PCG32 (O'Neill, PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms, HMC-CS-2014-0905).

    Args:
        seed: 64 bits of it count.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = 0
        self.word()
        self._state = (self._state + seed) & _BITS64
        self.word()

    def word(self) -> int:
        """The next 32 bits."""
        old = self._state
        self._state = (old * _MULTIPLIER + _INCREMENT) & _BITS64
        mixed = (old >> 18 ^ old) >> 27 & 0xFFFFFFFF
        turn = old >> 59
        return (mixed >> turn | mixed << (-turn & 31)) & 0xFFFFFFFF

    def random(self) -> float:
        """The next number, 0 or more and below 1, of 32 bits."""
        return self.word() / (1 << 32)
