"""AVERAGE_POOL_2D and MAX_POOL_2D."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.arithmetic.geometry import Window, window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap
from multigraft.firmware_gen.kernels.pixel_kernel import pixel_kernel
from multigraft.firmware_gen.operators.base.constraints import fused_activation, image, int8, same_scale, window_fits
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _channels(node: Node) -> bool:
    """Input and output have to have equally many channels."""
    return node.input(0).shape[3] == node.outputs[0].shape[3]


def _window(node: Node) -> tuple[Window, int, int]:
    """The window, and the least and the greatest output."""
    options, result = node.op.options, quant(node.outputs[0])
    size = integer(options.get("filter_height"), 1), integer(options.get("filter_width"), 1)
    limits = activation_range(options.get("fused_activation_function"), result.scales[0], result.zero_points[0])
    return window(node, size, node.input(0), node.outputs[0]), *limits


def _greatest(values: Array) -> Array:
    """The greatest value of each channel; ``values`` are pixels x channels."""
    return np.asarray(values.max(axis=0))


def _average(values: Array) -> Array:
    """The mean of each channel, halves rounded away from zero; ``values`` are pixels x channels."""
    total, count = values.sum(axis=0), len(values)
    half = count // 2
    # C divides towards zero.
    return np.where(total > 0, (total + half) // count, -((-total + half) // count))


class Pool(Operator):
    """A pooling operator.

    Args:
        name: The TFLite operator.
        pooled: The values in the window (pixels x channels, int64) to one per channel.
        averages: The C kernel averages; else it looks for the greatest value.
    """

    summary = "int8, any window, stride and padding, fused ReLU"
    constraints = (int8, image, same_scale, fused_activation, window_fits, _channels)

    def __init__(self, name: str, pooled: Callable[[Array], Array], averages: bool) -> None:
        self.names = (name,)
        self._pooled = pooled
        self._averages = averages

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        over, low, high = _window(node)
        assert inputs[0] is not None
        source = inputs[0][0].astype(np.int64)
        result = np.empty((over.out_h, over.out_w, over.out_c), np.int64)
        for y in range(over.out_h):
            top = y * over.stride_h - over.pad_h
            for x in range(over.out_w):
                left = x * over.stride_w - over.pad_w
                part = source[max(top, 0) : top + over.k_h, max(left, 0) : left + over.k_w]
                result[y, x] = self._pooled(part.reshape(-1, over.in_c))
        return np.clip(result, low, high).astype(np.int8)[None]

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return self._kernel(*_window(node), core)

    def _kernel(self, over: Window, low: int, high: int, core: CoreFeatures, ring: int | None = None) -> Kernel:
        kernel, includes = ("mg_pool_mve", ("mve.h", "pool.h", "pool_mve.h")) if core.mve else ("mg_pool", ("pool.h",))
        window = window_literal(over, 0, ring)
        body = (
            "(void)constants, (void)scratch;\n"
            f"    {kernel}({window}, in, out, first, last, {int(self._averages)}, {low}, {high});"
        )
        layer = LoweredLayer(body, b"", 0, includes)
        # Channel by channel: the pixel's other channels are still to be read when its first is written.
        overlaps = {0: Overlap(_distance(over))}
        return pixel_kernel("pool", layer, over, overlaps, lambda rows: self._kernel(over, low, high, core, rows))


def _distance(over: Window) -> int:
    return max(over.distance(1), over.out_c)


MAX_POOL = Pool("MAX_POOL_2D", _greatest, averages=False)
AVERAGE_POOL = Pool("AVERAGE_POOL_2D", _average, averages=True)
