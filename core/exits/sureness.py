"""How sure an answer is, from its logits as they lie in a tensor.

One implementation for whoever chooses thresholds and whoever applies them: a frame that lies on a threshold is decided
alike by both. Of 8-bit logits that is true of generated firmware, too: :mod:`multigraft.exits.whole_numbers`. Larger is
always surer, so the entropy counts as its negative (nats).

With logits ``z`` and temperature ``T`` the probabilities are ``softmax(z / T)`` (Guo et al., On Calibration of Modern
Neural Networks, ICML 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from multigraft.exits.policy import Exit, Rule
from multigraft.exits.whole_numbers import (
    DISTANCES,
    Tables,
    bounds_of,
    entropy_of,
    most_entropy,
    sureness_of,
    tables_of,
)
from multigraft.tensors.arrays import Array, Float64Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

MAX_LISTED_CLASSES = 64
"""Up to so many classes a list beats numpy's fixed cost per call."""


def surenesses(logits: Float64Array, rule: Rule, temperature: float) -> Float64Array:
    """Sureness of many answers at once.

    Args:
        logits: (frames, classes), classes at least 2.
        rule: What makes an answer sure.
        temperature: Above 0.

    Returns:
        (frames,) float64; larger is surer.
    """
    top = logits.max(axis=1, keepdims=True)
    scaled = (logits - top) / temperature
    shares = np.exp(scaled)
    total = shares.sum(axis=1)
    sure: Float64Array
    if rule == "entropy":
        sure = (shares * scaled).sum(axis=1) / total - np.log(total)
    elif rule == "margin":
        two = np.partition(shares, -2, axis=1)[:, -2:]
        sure = (two[:, 1] - two[:, 0]) / total
    else:
        sure = 1 / total
    return sure


def as_threshold(sureness: float, rule: Rule) -> float:
    """A sureness as :attr:`Exit.threshold` has it, and back: the entropy is told as people know it."""
    return -sureness if rule == "entropy" else sureness


def make_sureness(spec: TensorSpec, array: Array, rule: Rule, temperature: float) -> Callable[[], float]:
    """A function that tells how sure the answer in ``array`` is, as it is when it is called.

    Args:
        spec: What the tensor is; int8, uint8 or float32 with at least two values.
        array: Where it lies; held on to.
        rule: What makes an answer sure.
        temperature: Above 0.
    """
    flat = array.reshape(-1)
    if is_whole(spec):
        tables = tables_of(step_of(spec, temperature), flat.size, rule)
        if rule == "entropy":
            entropy = _entropy(flat, tables)
            return lambda: -entropy() / tables.one
        look = _look(flat, tables)
        return lambda: sureness_of(rule, tables, *look())
    if spec.dtype == "float32" and flat.size <= MAX_LISTED_CLASSES:
        return _of_floats(flat, temperature, rule)
    return lambda: float(surenesses(dequantise(flat, spec).astype(np.float64)[None], rule, temperature)[0])


def make_decision(found: Exit, spec: TensorSpec, array: Array) -> Callable[[], bool]:
    """A function that tells whether the exit is taken, by the logits in ``array`` as they are when it is called."""
    least = as_threshold(found.threshold, found.rule)
    if not is_whole(spec):
        sureness = make_sureness(spec, array, found.rule, found.temperature)
        return lambda: sureness() >= least
    flat = array.reshape(-1)
    tables = tables_of(step_of(spec, found.temperature), flat.size, found.rule)
    if found.rule == "entropy":
        entropy, most = _entropy(flat, tables), most_entropy(tables, least)
        return lambda: entropy() <= most
    look, bounds = _look(flat, tables), bounds_of(found.rule, tables, least)
    if len(bounds) == 1:
        (bound,) = bounds
        return lambda: look()[0] < bound
    bounds += bounds[-1:] * (DISTANCES - len(bounds))

    def is_sure() -> bool:
        rest, second = look()
        return rest < bounds[second]

    return is_sure


def is_whole(spec: TensorSpec) -> bool:
    """Whether logits of the tensor are decided on in whole numbers."""
    return spec.dtype in ("int8", "uint8") and spec.scale is not None


def step_of(spec: TensorSpec, temperature: float) -> float:
    """Distance of neighbouring logits of a tensor with a scale, over the temperature."""
    assert spec.scale is not None
    return float(spec.scale) / temperature


def _look(flat: Array, tables: Tables) -> Callable[[], tuple[int, int]]:
    """Sum of all shares but that of the largest, and the distance of the second largest."""
    shares = tables.shares + (0,) * (DISTANCES - len(tables.shares))
    one = tables.one
    if flat.size <= MAX_LISTED_CLASSES:

        def listed() -> tuple[int, int]:
            values: list[int] = flat.tolist()
            values.sort()
            top = values[-1]
            return sum([shares[top - value] for value in values]) - one, top - values[-2]

        return listed
    table = np.array(shares, np.int64)

    def many() -> tuple[int, int]:
        two = np.partition(flat, -2)[-2:].tolist()
        return int(table.dot(_counts(flat))) - one, two[1] - two[0]

    return many


def _entropy(flat: Array, tables: Tables) -> Callable[[], int]:
    """The entropy in the tables' fixed point."""
    unused = (0,) * (DISTANCES - len(tables.shares))
    shares, weighted = tables.shares + unused, tables.weighted + unused
    if flat.size <= MAX_LISTED_CLASSES:

        def listed() -> int:
            values: list[int] = flat.tolist()
            top = max(values)
            distances = [top - value for value in values]
            return entropy_of(tables, sum([shares[d] for d in distances]), sum([weighted[d] for d in distances]))

        return listed
    table = np.array([shares, weighted], np.int64)

    def many() -> int:
        total, sum_weighted = table.dot(_counts(flat)).tolist()
        return entropy_of(tables, total, sum_weighted)

    return many


def _counts(flat: Array) -> Array:
    """How many values lie at each distance to the largest."""
    return np.bincount(np.subtract(flat.max(), flat, dtype=np.int16), minlength=DISTANCES)


def _of_floats(flat: Array, temperature: float, rule: Rule) -> Callable[[], float]:
    """Of few float values; NaN and infinity are never sure."""
    exp = math.exp

    def sureness() -> float:
        values: list[float] = flat.tolist()
        values.sort()
        top = values[-1]
        scaled = [(value - top) / temperature for value in values]
        shares = [exp(value) for value in scaled]
        total = sum(shares)
        if rule == "entropy":
            # math.sumprod is of Python 3.12.
            return sum([s * v for s, v in zip(shares, scaled, strict=True)]) / total - math.log(total)
        return (1 - shares[-2] if rule == "margin" else 1) / total

    def guarded() -> float:
        try:
            sure = sureness()
        except (ValueError, OverflowError, ZeroDivisionError):
            return -math.inf
        return sure if math.isfinite(sure) else -math.inf

    return guarded
