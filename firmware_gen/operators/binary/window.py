"""Windows of binary operators, whose options stand in a FlexBuffers map; depths are in words."""

from __future__ import annotations

from collections.abc import Mapping

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.program.program import Node

_VALID = 1


def binary_window(node: Node, kernel: tuple[int, int], options: Mapping[str, int]) -> Window:
    """The window over the input's rows and columns; the output's are computed, its depth is the tensor's."""
    _, in_h, in_w, in_c = node.input(0).shape
    strides = options["stride_height"], options["stride_width"]
    dilations = options.get("dilation_height_factor", 1), options.get("dilation_width_factor", 1)
    sides = [
        _side(*side, options["padding"] == _VALID)
        for side in zip((in_h, in_w), kernel, strides, dilations, strict=True)
    ]
    (out_h, pad_h), (out_w, pad_w) = sides
    out_c = node.outputs[0].shape[-1]
    return Window(in_h, in_w, in_c, out_h, out_w, out_c, *kernel, *strides, *dilations, pad_h, pad_w)


def _side(size: int, kernel: int, stride: int, dilation: int, is_valid: bool) -> tuple[int, int]:
    """Outputs along one axis, and the padding before the first."""
    span = (kernel - 1) * dilation + 1
    if is_valid:
        return (size - span) // stride + 1, 0
    count = -(-size // stride)
    return count, max(0, (count - 1) * stride + span - size) // 2
