"""Real values to stored integers and back, as TFLite does it.

``real = scale * (stored - zero_point)``. Storing divides in float32, rounds half away from zero (``std::round``), adds
the zero point and saturates: tensorflow/lite/kernels/internal/reference/quantize.h.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.specs import TensorSpec

INTEGERS = ("int8", "uint8", "int16", "int32")
"""Stored types that a scale and a zero point belong to."""


def quantise(values: npt.ArrayLike, spec: TensorSpec) -> Array:
    """Store real values as the tensor does.

    Args:
        values: Real values of any shape.
        spec: Gives dtype, scale and zero point; the shape is not looked at. A float tensor stores values as they are.

    Returns:
        An array of ``values``' shape and ``spec.dtype``.

    Raises:
        InputError: An integer tensor has no scale.
    """
    real = np.asarray(values, np.float32)
    if spec.dtype not in INTEGERS:
        return real.astype(spec.dtype)
    steps = (real / _scale(spec)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + spec.zero_point
    limits = np.iinfo(spec.dtype)
    return np.clip(rounded, limits.min, limits.max).astype(spec.dtype)


def dequantise(stored: Array, spec: TensorSpec) -> Float32Array:
    """Real float32 values of stored ones; integers without a scale (class numbers, counts) keep their value.

    Args:
        stored: Any shape, of ``spec.dtype``.
        spec: Gives dtype, scale and zero point.
    """
    if spec.dtype not in INTEGERS or spec.scale is None:
        return stored.astype(np.float32)
    return (stored.astype(np.int32) - np.int32(spec.zero_point)).astype(np.float32) * _scale(spec)


def _scale(spec: TensorSpec) -> np.float32:
    if spec.scale is None or not spec.scale > 0:
        raise InputError(
            f"tensor {spec.name} is {spec.dtype} and its scale is {spec.scale}", "give it a positive scale"
        )
    return np.float32(spec.scale)
