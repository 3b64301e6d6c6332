"""How sure 8-bit logits are, in whole numbers: every machine that adds decides alike, an interpreter's and a board.

Logits are ``step`` apart, so the softmax knows them by their distances to the largest, 0 to 255. :attr:`Tables.shares`
holds ``exp(-step * distance)`` in fixed point, rounded from more digits than it has, so that no machine's ``exp`` has a
say. With ``one`` for the largest and ``rest`` for the sum over all others:

- the probability is ``one / (one + rest)``, so it is at least a threshold where ``rest`` is below a bound;
- the margin is ``(one - second) / (one + rest)``: a bound for each distance of the second;
- the entropy is ``log(one + rest) + sum(share * distance * step) / (one + rest)`` nats. The logarithm is found by
  shifting and adding (Muller, Elementary Functions, chapter 8): factors ``1 + 2^-k`` are multiplied as long as the
  product stays below.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from multigraft.exits.policy import Rule

BITS = 48
"""Of a fraction, where classes are few enough for 64 bits to hold the sums."""
_SUM_BITS = 62
LOG_BITS = 56
"""Of a fraction of a logarithm."""
DISTANCES = 256
_DIGITS = 40
_MOST_STEP = 1000.0
"""From which on nothing but the largest has a share."""


@dataclass(frozen=True)
class Tables:
    """What a rule looks up.

    Attributes:
        bits: Of the fraction of ``shares``, ``weighted`` and an entropy.
        shares: Of each distance, up to the last that is not 0.
        weighted: Each share times its distance times the step; empty but for an entropy.
        logs: ``log(1 + 2^-k)`` for k from 0 on, of :data:`LOG_BITS` bits; empty but for an entropy.
    """

    bits: int
    shares: tuple[int, ...]
    weighted: tuple[int, ...] = ()
    logs: tuple[int, ...] = ()

    @property
    def one(self) -> int:
        """What 1 is."""
        return 1 << self.bits


@functools.lru_cache(maxsize=16)
def tables_of(step: float, classes: int, rule: Rule) -> Tables:
    """The tables of logits.

    Args:
        step: Distance of two neighbouring logits over the temperature, above 0.
        classes: How many, at least 2.
        rule: What is asked.
    """
    import decimal

    step = min(step, _MOST_STEP)
    bits = min(BITS, _SUM_BITS - classes.bit_length())
    with decimal.localcontext(decimal.Context(prec=_DIGITS)):
        whole, exact = decimal.Decimal(1 << bits), decimal.Decimal(step)
        reals = [(-exact * distance).exp() * whole for distance in range(DISTANCES)]
        shares = [int(real.to_integral_value()) for real in reals]
        # Whatever the step, a share of 0 has only such behind it.
        used = max(distance for distance, share in enumerate(shares) if share) + 1
        if rule != "entropy":
            return Tables(bits, tuple(shares[:used]))
        weighted = [int((real * exact * distance).to_integral_value()) for distance, real in enumerate(reals[:used])]
        parts = [(1 + decimal.Decimal(2) ** -k).ln() * (1 << LOG_BITS) for k in range(bits + 1)]
        return Tables(bits, tuple(shares[:used]), tuple(weighted), tuple(int(p.to_integral_value()) for p in parts))


def sureness_of(rule: Rule, tables: Tables, rest: int, second: int) -> float:
    """Probability or margin; never falls when ``rest`` does.

    Args:
        rule: ``probability`` or ``margin``.
        tables: Of the rule.
        rest: Sum of the shares of all but the largest.
        second: Distance of the second largest.
    """
    share = tables.shares[second] if rule == "margin" and second < len(tables.shares) else 0
    # Quotients of whole numbers are rounded once, however large these are.
    return (tables.one - share) / (tables.one + rest)


def bounds_of(rule: Rule, tables: Tables, least: float) -> tuple[int, ...]:
    """The rests from which on answers are no longer sure, by the distance of the second; the last is of all beyond.

    Args:
        rule: ``probability`` or ``margin``.
        tables: Of the rule.
        least: Smallest sureness that is enough.
    """
    distances = len(tables.shares) + 1 if rule == "margin" else 1
    return tuple(_bound(rule, tables, least, second) for second in range(distances))


def _bound(rule: Rule, tables: Tables, least: float, second: int) -> int:
    low, high = 0, 1 << _SUM_BITS
    while low < high:
        middle = (low + high) // 2
        if sureness_of(rule, tables, middle, second) < least:
            high = middle
        else:
            low = middle + 1
    return low


def entropy_of(tables: Tables, total: int, weighted: int) -> int:
    """Nats, in the fixed point of the tables.

    Args:
        tables: Of the rule ``entropy``.
        total: Sum of all shares.
        weighted: Sum of what :attr:`Tables.weighted` has for each.
    """
    high = total.bit_length() - 1
    mantissa = total << (_SUM_BITS - high)
    product = 1 << _SUM_BITS
    log = (high - tables.bits) * tables.logs[0]
    for k, part in enumerate(tables.logs):
        grown = product + (product >> k)
        # The first of the parts is 2 itself, which no mantissa holds.
        if grown <= mantissa:
            product = grown
            log += part
    return (log >> (LOG_BITS - tables.bits)) + (weighted << tables.bits) // total


def most_entropy(tables: Tables, least: float) -> int:
    """The largest :func:`entropy_of` whose negative, in nats, is at least ``least``; -1 for none."""
    # Whatever a file says, the product stays a number.
    nats = min(max(-least, -1.0), float(1 << _SUM_BITS))
    return max(-1, min(math.floor(nats * tables.one), (1 << _SUM_BITS) - 1))
