"""Whether a frame is far from all that a trunk has seen: the length of its whitened representation.

The segment of such a gate averages a tensor of the trunk and maps it linearly, so that over the frames of the fit all
results have mean 0 and, as far as they are known, variance 1 and no correlation. The length of that is the distance of
Mahalanobis (Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, arXiv 1807.03888, take
one for each class; here there are no labels, so one for all). Of stored integers it is compared in whole numbers, so
that every machine decides alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multigraft.exits.change import most_squared
from multigraft.exits.sureness import is_whole
from multigraft.tensors.arrays import Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

UNKNOWN = "unknown"
"""The label of what is far; its index is -1."""


def squared(stored: Array, spec: TensorSpec) -> float:
    """The squared length of whitened values, in the units of :func:`~multigraft.exits.change.most_squared`.

    Args:
        stored: As the tensor holds them.
        spec: Of the tensor.
    """
    flat = stored.reshape(-1)
    if is_whole(spec):
        steps = flat.astype(np.int64) - spec.zero_point
        return float(steps.dot(steps))
    real = dequantise(flat, spec).astype(np.float64)
    return float(real.dot(real))


def make_is_far(spec: TensorSpec, array: Array, distance: float) -> Callable[[], bool]:
    """A function that tells whether the frame whose whitened values lie in ``array`` now is far.

    Args:
        spec: Of the tensor.
        array: Where it lies; held on to.
        distance: Up to which a frame is none.
    """
    most = most_squared(distance, spec)
    # What is no number is no frame that the trunk knows.
    return lambda: not squared(array, spec) <= most
