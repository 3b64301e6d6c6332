"""What is known of a tensor without its values: shape, stored type, scale and zero point."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that crosses a segment boundary.

    ``shape`` is as in the .tflite file (NHWC, batch 1). For quantised tensors ``real = scale * (stored - zero_point)``;
    ``scale`` is None for float32 tensors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
