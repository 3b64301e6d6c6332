"""Which stored values a fused activation leaves."""

from __future__ import annotations

import numpy as np


def activation_range(activation: object, scale: float, zero_point: int) -> tuple[int, int]:
    """CalculateActivationRangeQuantized for int8."""

    def stored(value: float) -> int:
        ratio = float(np.float32(value) / np.float32(scale))
        return zero_point + int(np.copysign(np.floor(abs(ratio) + 0.5), ratio))

    low, high = -128, 127
    if activation in ("RELU", "RELU6", "RELU_0_TO_1"):
        low = max(low, stored(0.0))
    if activation == "RELU6":
        high = min(high, stored(6.0))
    if activation == "RELU_0_TO_1":
        high = min(high, stored(1.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, stored(-1.0)), min(high, stored(1.0))
    return low, high
