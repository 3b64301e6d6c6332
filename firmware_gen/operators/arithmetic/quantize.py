"""QUANTIZE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import array, digest
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap
from multigraft.firmware_gen.operators.base.constraints import is_bytes, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import limits, look_up, rescaled, table_kernel
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_INFINITY = 0x7F800000


def _types(node: Node) -> bool:
    """The input has to be float32, or int8 or uint8 with one scale; the output int8 or uint8 with one scale."""
    source = node.input(0)
    return (is_bytes(source) or source.dtype == "float32") and is_bytes(node.outputs[0])


class Quantize(Operator):
    """QUANTIZE of int8 and uint8, by a table, or of float32, by its 255 steps: no core needs floating point.

    Read as integers, floats of one sign are ordered as their values are; negative ones are turned around. So infinities
    become the greatest or the least value, and what is not a number becomes that of its sign; the reference kernel
    leaves both to the compiler.
    """

    names = ("QUANTIZE",)
    summary = (
        "int8, uint8 or float32 to int8 or uint8, a table of 256 bytes or 1 KiB in flash; infinities and what is not a "
        "number become the greatest value, or with a minus the least"
    )
    constraints = (same_shape, _types)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        if node.input(0).dtype != "float32":
            return look_up(_table(node), node, inputs)
        low, high = limits(node.outputs[0].dtype)
        ends = np.where(np.signbit(inputs[0]), low, high)
        values = np.where(np.isnan(inputs[0]), ends, _quantised(node, inputs[0]))
        return values.astype(node.outputs[0].dtype).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        if node.input(0).dtype != "float32":
            return table_kernel(_table(node), node)
        least = limits(node.outputs[0].dtype)[0]
        count = int(np.prod(node.outputs[0].shape))
        text = array("steps", _steps(node).astype("<i4").tobytes()).replace("uint32_t", "int32_t", 1)
        text = text.replace("u,", ",").replace("0x", "(int32_t)0x")
        name = f"quantize_{digest(text)}"
        body = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, int32_t n)\n{{\n    {text.strip()}\n"
            "    for (int32_t i = 0; i < n; i++) {\n"
            "        const uint32_t bits = mg_load(in + 4 * i);\n"
            "        const int32_t size = (int32_t)(bits & 0x7fffffffu);\n"
            "        const int32_t x = bits >> 31 ? -size : size;\n"
            "        int32_t taken = 0;\n"
            "        for (int32_t half = 128; half > 0; half >>= 1)\n"
            "            taken += x >= steps[taken + half - 1] ? half : 0;\n"
            f"        out[i] = (int8_t)(taken + {least});\n"
            "    }\n}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]}, {count});"

        return Kernel(call, (), {name: body}, overlaps={0: Overlap(0)})


def _table(node: Node) -> Array:
    """The result of each of the 256 bytes."""
    result = node.outputs[0].dtype
    return np.clip(rescaled(node), *limits(result)).astype(result)


def _steps(node: Node) -> Array:
    """The least float of each of the values but the least, as an ordered int32."""
    values = np.arange(1, 256) + limits(node.outputs[0].dtype)[0]
    below, reached = np.full(255, -_INFINITY - 1), np.full(255, _INFINITY + 1)
    while np.any(reached - below > 1):
        middle = (below + reached) >> 1
        above = _quantised(node, _floats(middle)) >= values
        below, reached = np.where(above, below, middle), np.where(above, middle, reached)
    return reached


def _quantised(node: Node, x: Array) -> Array:
    """AffineQuantize: divided in float32, halves rounded away from zero. Infinities saturate."""
    result = quant(node.outputs[0])
    with np.errstate(over="ignore"):
        ratio = (x.astype(np.float32) / np.float32(result.scales[0])).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(ratio) + 0.5), ratio)
    return np.clip(rounded + result.zero_points[0], *limits(node.outputs[0].dtype))


def _floats(ordered: Array) -> Array:
    """The floats whose bits, the sign turned into a minus, are these integers; what is beyond infinity is infinite."""
    size = np.minimum(np.abs(ordered), _INFINITY).astype(np.uint32).view(np.float32)
    return np.where(ordered < 0, -size, size)
