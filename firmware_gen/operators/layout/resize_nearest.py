"""RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import copy_kernel
from multigraft.firmware_gen.operators.base.constraints import image, int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def nearest(size: int, result: int, align_corners: bool, half_pixel: bool) -> list[int]:
    """The input index of every output index (GetNearestNeighbor of the reference)."""
    scale = np.float32(size) / np.float32(result)
    if align_corners and result > 1:
        scale = np.float32(size - 1) / np.float32(result - 1)
    positions = (np.arange(result, dtype=np.float32) + np.float32(0.5 if half_pixel else 0.0)) * scale
    rounded = np.floor(positions + np.float32(0.5)) if align_corners else np.floor(positions)
    return [int(i) for i in np.clip(rounded, 0, size - 1)]


def equal_channels(node: Node) -> bool:
    """Input and output have to have equally many channels, and fewer than 32768 rows and columns."""
    source, result = node.input(0).shape, node.outputs[0].shape
    return source[3] == result[3] and max(*source[1:3], *result[1:3]) < 1 << 15


class ResizeNearest(Operator):
    """RESIZE_NEAREST_NEIGHBOR to a constant size."""

    names = ("RESIZE_NEAREST_NEIGHBOR",)
    summary = "int8, any constant size"
    constraints = (int8, image, same_scale, equal_channels)

    def _indices(self, node: Node) -> tuple[list[int], list[int]]:
        source, result, options = node.input(0).shape, node.outputs[0].shape, node.op.options
        flags = bool(options.get("align_corners")), bool(options.get("half_pixel_centers"))
        return nearest(source[1], result[1], *flags), nearest(source[2], result[2], *flags)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        rows, columns = self._indices(node)
        assert inputs[0] is not None
        return inputs[0][:, rows][:, :, columns]

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        rows, columns = self._indices(node)
        _, _, width, channels = node.input(0).shape
        body = (
            f"static const uint16_t rows[{len(rows)}] = {{{', '.join(map(str, rows))}}};\n"
            f"    static const uint16_t columns[{len(columns)}] = {{{', '.join(map(str, columns))}}};\n"
            f"    for (int32_t y = 0; y < {len(rows)}; y++)\n"
            f"        for (int32_t x = 0; x < {len(columns)}; x++, to += {channels})\n"
            f"            memcpy(to, from + (rows[y] * {width} + columns[x]) * {channels}, {channels});"
        )
        return copy_kernel("resize", body)
