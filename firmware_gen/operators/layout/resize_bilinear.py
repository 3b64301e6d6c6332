"""RESIZE_BILINEAR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import copy_kernel
from multigraft.firmware_gen.operators.base.constraints import image, int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.layout.resize_nearest import equal_channels
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_ONE = 1 << 10
"""Weights are in 1/1024."""


@dataclass(frozen=True)
class Sides:
    """Per output row or column: the input ones on both sides, and the weight of the upper one in 1/1024."""

    lower: Array
    upper: Array
    weight: Array


def sides(size: int, result: int, align_corners: bool, half_pixel: bool) -> Sides:
    """ComputeInterpolationValuesInteger of the reference."""
    scale = (_ONE * size + result // 2) // result
    if align_corners and result > 1:
        scale = (_ONE * (size - 1) + (result - 1) // 2) // (result - 1)
    at = np.arange(result, dtype=np.int64) * scale
    if half_pixel:
        at = at + scale // 2 - _ONE // 2
    # C divides towards zero, which makes a difference only for what lies before the first pixel.
    lower = np.maximum(at // _ONE, 0)
    upper = np.minimum(np.maximum((at + _ONE - 1) // _ONE, 0), size - 1)
    return Sides(lower, upper, at - _ONE * lower)


def _inside(node: Node) -> bool:
    """The reference's rounded scale may not lead beyond the input's last row or column."""
    sizes = zip(_sides(node), node.input(0).shape[1:3], strict=True)
    return all(int(of.lower.max()) < size for of, size in sizes)


def _sides(node: Node) -> tuple[Sides, Sides]:
    """Of rows and of columns."""
    source, result, options = node.input(0).shape, node.outputs[0].shape, node.op.options
    flags = bool(options.get("align_corners")), bool(options.get("half_pixel_centers"))
    return sides(source[1], result[1], *flags), sides(source[2], result[2], *flags)


class ResizeBilinear(Operator):
    """RESIZE_BILINEAR to a constant size."""

    names = ("RESIZE_BILINEAR",)
    summary = "int8, any constant size"
    constraints = (int8, image, same_scale, equal_channels, _inside)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        rows, columns = _sides(node)
        assert inputs[0] is not None
        source = inputs[0].astype(np.int64)
        right = columns.weight[:, None]
        down = rows.weight[:, None, None]

        def across(line: Array) -> Array:
            part = source[:, line]
            return np.asarray(part[:, :, columns.lower] * (_ONE - right) + part[:, :, columns.upper] * right)

        total = across(rows.lower) * (_ONE - down) + across(rows.upper) * down
        rounded = np.abs(total) + (1 << 19)
        return np.asarray(np.sign(total) * (rounded >> 20), np.int8)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        rows, columns = _sides(node)
        _, _, width, channels = node.input(0).shape

        def table(name: str, of: Sides) -> str:
            entries = ", ".join(f"{{{a}, {b}, {w}}}" for a, b, w in zip(of.lower, of.upper, of.weight, strict=True))
            return f"static const struct {{ int16_t lower, upper, weight; }} {name}[{len(of.lower)}] = {{{entries}}};\n"

        body = (
            table("rows", rows)
            + "    "
            + table("columns", columns)
            + f"    for (int32_t y = 0; y < {len(rows.lower)}; y++) {{\n"
            f"        const int8_t *const above = from + rows[y].lower * {width * channels};\n"
            f"        const int8_t *const below = from + rows[y].upper * {width * channels};\n"
            "        const int32_t down = rows[y].weight;\n"
            f"        for (int32_t x = 0; x < {len(columns.lower)}; x++) {{\n"
            f"            const int32_t a = columns[x].lower * {channels}, b = columns[x].upper * {channels};\n"
            "            const int32_t right = columns[x].weight;\n"
            f"            for (int32_t c = 0; c < {channels}; c++) {{\n"
            "                const int32_t top = above[a + c] * (1024 - right) + above[b + c] * right;\n"
            "                const int32_t bottom = below[a + c] * (1024 - right) + below[b + c] * right;\n"
            "                const int32_t sum = top * (1024 - down) + bottom * down;\n"
            "                *to++ = (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));\n"
            "            }\n        }\n    }"
        )
        return copy_kernel("bilinear", body)
