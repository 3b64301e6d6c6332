"""Scales from which kernels make fixed-point factors: some end the process where a factor is out of range.

Source: tensorflow/lite/kernels/internal/quantization_util.cc, whose ``TFLITE_CHECK`` aborts, and the kernels'
``Prepare`` functions.
"""

from __future__ import annotations

import math

from multigraft.tflite.checking.contents import Operator, Tensor
from multigraft.tflite.checking.flatbuffer import DamagedError

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (0, 0)}
_LARGEST_FACTOR = float(1 << 30)
_LEAST_SCALE = 2.0**-126
"""Of float32; what is smaller has no reciprocal."""
_ARITHMETIC = (
    "ADD SUB MUL DIV CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV FULLY_CONNECTED AVERAGE_POOL_2D MAX_POOL_2D "
    "CONCATENATION SOFTMAX LOG_SOFTMAX LOGISTIC TANH HARD_SWISH LEAKY_RELU PRELU MEAN SUM REDUCE_MAX REDUCE_MIN "
    "REDUCE_PROD QUANTIZE DEQUANTIZE MAXIMUM MINIMUM SQUARED_DIFFERENCE RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ABS RSQRT "
    "L2_NORMALIZATION RESIZE_BILINEAR BATCH_MATMUL GELU ELU EXP"
)
"""Operators that compute with the scales of integers; others move bytes."""
_COMPUTE = frozenset(_ARITHMETIC.split())


def check_scales(operator: Operator) -> None:
    """Check the factors that an operator's kernels will make of its tensors' scales.

    Raises:
        DamagedError: One is out of range.
    """
    if operator.name not in _COMPUTE:
        return
    tensors = [t for t in (*operator.inputs, *operator.outputs) if t is not None]
    for tensor in tensors:
        if tensor.dtype in _RANGES and not (tensor.is_constant and not tensor.scales):
            _check_range(operator, tensor)
    output = operator.outputs[0]
    if output.dtype not in _RANGES or not output.scales:
        return
    inputs = [t for t in operator.inputs if t is not None and t.dtype in (*_RANGES, "int4", "int2") and t.scales]
    if not inputs:
        return
    first, second = inputs[0].scales[0], inputs[1].scales if len(inputs) > 1 else ()
    factors = [first / output.scales[0]]
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "MUL", "BATCH_MATMUL"):
        factors = [first * scale / output.scales[0] for scale in second]
    elif operator.name in ("ADD", "SUB", "SQUARED_DIFFERENCE") and second:
        # Both sides are brought to a common scale of 20 (int16: 15) more bits, and the sum to that of the output.
        bits = 15 if output.dtype == "int16" else 20
        power = 2 if operator.name == "SQUARED_DIFFERENCE" else 1
        factor = (2 * max(first, second[0])) ** power / (2.0 ** (bits if power == 1 else 7 * 2) * output.scales[0])
        if not factor < 1:
            raise DamagedError(f"a {operator.name} has scales that its kernels cannot work with")
    elif operator.name == "SOFTMAX":
        beta = operator.options.get(0, 0.0)
        if not beta * first * (1 << 26) > 1 or not math.isfinite(beta):
            raise DamagedError("a SOFTMAX has a scale or a beta that its kernels cannot work with")
        return
    elif operator.name == "DIV" and second:
        factors = [first / (scale * output.scales[0]) for scale in second if scale]
    elif operator.name in ("LEAKY_RELU", "PRELU"):
        alpha = operator.options.get(0, 0.0) if operator.name == "LEAKY_RELU" else second[0] if second else 1.0
        factors.append(first * abs(alpha) / output.scales[0])
    if not all(0 <= factor < _LARGEST_FACTOR for factor in factors):
        raise DamagedError(f"a {operator.name} has scales that its kernels cannot work with")


def _check_range(operator: Operator, tensor: Tensor) -> None:
    if not tensor.is_constant and (len(tensor.scales) != 1 or not tensor.scales[0] > 0):
        raise DamagedError(f"a {operator.name} computes with tensor {tensor.number}, which has no scale")
    if any(0 < scale < _LEAST_SCALE for scale in tensor.scales):
        raise DamagedError(f"a {operator.name} has scales that its kernels cannot work with")
    least, most = _RANGES[tensor.dtype]
    for zero_point in tensor.zero_points:
        if not least <= zero_point <= most:
            raise DamagedError(f"tensor {tensor.number} has a zero point outside of {tensor.dtype}")
