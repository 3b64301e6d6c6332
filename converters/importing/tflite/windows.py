"""Paddings of convolutions and pools as ONNX writes them: how many rows and columns, not which rule."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.tflite.graph import Op


def integer(op: Op, name: str, default: int = 0) -> int:
    """An option that is a whole number."""
    value = op.options.get(name, default)
    return int(value) if isinstance(value, (int, float)) else default


def pads_of(
    op: Op, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Rows and columns before, then behind: ``SAME`` puts the odd one behind."""
    if op.options.get("padding", "SAME") == "VALID":
        return [0, 0, 0, 0]
    before, behind = [], []
    for length, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-length // stride) - 1) * stride + (taps - 1) * dilation + 1 - length, 0)
        before.append(total // 2)
        behind.append(total - total // 2)
    return [*before, *behind]
