"""Whether a frame says anything new: how far its early logits are from those of the last frame that was answered.

Logits in whole numbers are compared in whole numbers, so that every machine decides alike: the squared distance, in
steps of their scale, is at most a bound that is computed exactly. Early logits come from a head that was fitted to the
answers of the whole network, so that what tells no classes apart counts little.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from multigraft.exits.sureness import is_whole
from multigraft.tensors.arrays import Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

_MOST = 1 << 52


def most_squared(distance: float, spec: TensorSpec) -> float:
    """The largest squared distance that is near, in the units of :func:`comparable`.

    Args:
        distance: Euclidean, of logits; below 0 for none.
        spec: Of the tensor with the logits.
    """
    if distance < 0:
        return -1.0
    if not is_whole(spec):
        return distance * distance
    steps = Fraction(distance) / Fraction(float(spec.scale or 1.0))
    return float(min(math.floor(steps * steps), _MOST))


def comparable(stored: Array, spec: TensorSpec) -> Array:
    """A flat copy of logits in which distances are exact: int32 of whole ones, float64 of others."""
    flat = stored.reshape(-1)
    return flat.astype(np.int32) if is_whole(spec) else dequantise(flat, spec).astype(np.float64)


class Memory:
    """The last frame that the whole network answered: its early logits, and what it was answered with.

    Args:
        spec: Of the tensor with the logits.
        array: Where it lies; held on to.
        distance: Up to which a frame is near.
    """

    __slots__ = ("_array", "_last", "_most", "_spec", "answer")

    def __init__(self, spec: TensorSpec, array: Array, distance: float) -> None:
        self._spec, self._array, self._most = spec, array, most_squared(distance, spec)
        self._last: Array | None = None
        self.answer: object = None

    def is_near(self) -> bool:
        """Whether the frame whose logits lie in the array now is near the last one; False before the first."""
        if self._last is None:
            return False
        change = comparable(self._array, self._spec) - self._last
        # Nothing is at most NaN.
        return bool(change.dot(change) <= self._most)

    def keep(self, answer: object) -> None:
        """Remember the frame whose logits lie in the array now, and its answer."""
        self._last, self.answer = comparable(self._array, self._spec), answer

    def forget(self) -> None:
        """The next frame is new."""
        self._last = self.answer = None
