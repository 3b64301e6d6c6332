"""Tables of activations that the reference kernels compute in arithmetic of their own: HARD_SWISH and LEAKY_RELU.

Sources: tensorflow/lite/kernels/activations.cc and internal/reference/{hard_swish,leaky_relu}.h as of TensorFlow 2.14.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale, rounding_shift
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Quant

_FINER_BITS = 7
_INT16 = (-(1 << 15), (1 << 15) - 1)


def leaky_relu(codes: Array, source: Quant, result: Quant, alpha: float) -> Array:
    """int8 codes to results, not yet clipped. The quotients are float32, as the kernel's are."""
    ins, out = np.float32(source.scales[0]), np.float32(result.scales[0])
    centred = codes - source.zero_points[0]
    above = rescale(centred, *quantize_multiplier(float(ins / out)))
    below = rescale(centred, *quantize_multiplier(float(ins * np.float32(alpha) / out)))
    return np.where(centred >= 0, above, below) + result.zero_points[0]


def hard_swish(codes: Array, source: Quant, result: Quant) -> Array:
    """int8 codes to results, not yet clipped: x * relu6(x + 3) / 6 in 16-bit fixed point."""
    finer = np.float32(source.scales[0]) / np.float32(1 << _FINER_BITS)
    out_multiplier, out_exponent = _multiplier16(float(finer / np.float32(result.scales[0])))
    multiplier, exponent = _multiplier16(float(finer / np.float32(3 / 32768)))
    x = (codes - source.zero_points[0]) << _FINER_BITS
    # The gate runs from -1 to 1 in Q0.15, saturating; all but one bit of the left shift comes before the product.
    gate = _shift_saturating(x, exponent - 1) if exponent > 0 else x
    gate = _product_rounded(gate, multiplier)
    gate = _shift_saturating(gate, 1) if exponent > 0 else rounding_shift(gate, -exponent)
    gate = (gate + (1 << 15)) >> 1
    product = gate * _product_rounded(x, out_multiplier)
    return rounding_shift(np.sign(product) * (np.abs(product) >> 15), -out_exponent) + result.zero_points[0]


def has_hard_swish(source: Quant, result: Quant) -> bool:
    """Whether the output scale is coarse enough for the kernel's 16 bits."""
    quotient = np.float32(source.scales[0]) / np.float32(1 << _FINER_BITS) / np.float32(result.scales[0])
    return quantize_multiplier(float(quotient))[1] <= 0


def _multiplier16(real: float) -> tuple[int, int]:
    multiplier, exponent = quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, _INT16[1]), exponent


def _shift_saturating(x: Array, bits: int) -> Array:
    shifted: Array = np.clip(x << bits, *_INT16)
    return shifted


def _product_rounded(a: Array, b: int) -> Array:
    """SaturatingRoundingDoublingHighMul of 16 bits: rounds half away from zero upwards and truncates."""
    product = a * np.int64(b)
    nudged: Array = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    high: Array = np.sign(nudged) * (np.abs(nudged) >> 15)
    return high
