"""How sure an answer is, from its logits as they lie in a tensor.

One implementation for whoever chooses thresholds and whoever applies them: a frame that lies on a threshold is decided
alike by both. Larger is always surer, so the entropy counts as its negative (nats).

With logits ``z`` and temperature ``T`` the probabilities are ``softmax(z / T)`` (Guo et al., On Calibration of Modern
Neural Networks, ICML 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from multigraft.exits.policy import Exit, Rule
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
    is_short = flat.size <= MAX_LISTED_CLASSES
    if is_short and spec.dtype in ("int8", "uint8") and spec.scale is not None:
        return _of_bytes(flat, float(spec.scale) / temperature, rule)
    if is_short and spec.dtype == "float32":
        return _of_floats(flat, temperature, rule)
    return lambda: float(surenesses(dequantise(flat, spec).astype(np.float64)[None], rule, temperature)[0])


def make_decision(found: Exit, spec: TensorSpec, array: Array) -> Callable[[], bool]:
    """A function that tells whether the exit is taken, by the logits in ``array`` as they are when it is called."""
    sureness = make_sureness(spec, array, found.rule, found.temperature)
    least = as_threshold(found.threshold, found.rule)
    return lambda: sureness() >= least


def _of_bytes(flat: Array, step: float, rule: Rule) -> Callable[[], float]:
    """Of few 8-bit values, ``step`` apart; tables hold what depends on a value's distance to the largest."""
    distances = np.arange(256)
    table: list[float] = np.exp(-step * distances).tolist()
    if rule == "entropy":
        weighted: list[float] = (-step * distances * np.exp(-step * distances)).tolist()

        def entropy() -> float:
            values: list[int] = flat.tolist()
            top = max(values)
            total = sum([table[top - value] for value in values])
            return sum([weighted[top - value] for value in values]) / total - math.log(total)

        return entropy
    if rule == "margin":

        def margin() -> float:
            values: list[int] = flat.tolist()
            values.sort()
            top = values[-1]
            total = sum([table[top - value] for value in values])
            return (1 - table[top - values[-2]]) / total

        return margin

    def probability() -> float:
        values: list[int] = flat.tolist()
        top = max(values)
        return 1 / sum([table[top - value] for value in values])

    return probability


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
