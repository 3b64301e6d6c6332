"""Functions of one int8 value: each is a table of 256 results, computed here by the reference's arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.arithmetic.activation_tables import hard_swish, has_hard_swish, leaky_relu
from multigraft.firmware_gen.arithmetic.fixed_point import logistic, quantize_multiplier, rescale, rounding_shift, tanh
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import array, digest
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap
from multigraft.firmware_gen.operators.base.int8 import Int8
from multigraft.firmware_gen.operators.layout.reshape import view
from multigraft.firmware_gen.program.program import Array, Node

_INPUT_BITS = 4


def _rescaled(node: Node) -> Array:
    source, result = quant(node.input(0)), quant(node.outputs[0])
    multiplier, shift = quantize_multiplier(float(np.float32(source.scales[0])) / float(np.float32(result.scales[0])))
    return rescale(_codes() - source.zero_points[0], multiplier, shift) + result.zero_points[0]


def _codes() -> Array:
    return np.arange(-128, 128, dtype=np.int64)


def _squashed(node: Node, tangent: bool) -> Array:
    """LOGISTIC or TANH: reference_integer_ops, input rescaled to Q4.27, outside a radius the limit itself."""
    source = quant(node.input(0))
    real = float(np.float32(source.scales[0])) * float(1 << (31 - _INPUT_BITS))
    multiplier, shift = quantize_multiplier(real)
    radius = int(np.floor(float((1 << _INPUT_BITS) - 1) * float(1 << (31 - _INPUT_BITS)) / float(1 << shift)))
    centred = _codes() - source.zero_points[0]
    inside = rescale(np.clip(centred, -radius, radius), multiplier, shift)
    if tangent:
        result = rounding_shift(tanh(inside, _INPUT_BITS), 24)
        low, high = -128, 127
    else:
        result = rounding_shift(logistic(inside, _INPUT_BITS), 23) - 128
        low, high = -128, 127
    result = np.clip(result, -128, 127)
    return np.where(centred <= -radius, low, np.where(centred >= radius, high, result))


class Unary(Int8):
    """RELU, RELU6, LEAKY_RELU, HARD_SWISH, LOGISTIC and TANH."""

    names: tuple[str, ...] = (
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "LEAKY_RELU",
        "HARD_SWISH",
        "LOGISTIC",
        "TANH",
    )
    summary = "int8 to int8, a table of 256 bytes in flash"

    def constraint_squash(self, node: Node) -> bool:
        """LOGISTIC has to write scale 1/256 and zero point -128, TANH scale 1/128 and zero point 0."""
        held = node.outputs[0].quant
        wanted = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(node.name)
        return wanted is None or (held is not None and (held.scales[0], held.zero_points[0]) == wanted)

    def constraint_hard_swish(self, node: Node) -> bool:
        """HARD_SWISH has to write a scale of more than 1/128 of the one it reads."""
        return node.name != "HARD_SWISH" or has_hard_swish(quant(node.input(0)), quant(node.outputs[0]))

    def table(self, node: Node) -> Array:
        """The result of each of the 256 int8 values, from -128 on."""
        if node.name in ("LOGISTIC", "TANH"):
            return _squashed(node, node.name == "TANH").astype(np.int8)
        quants = quant(node.input(0)), quant(node.outputs[0])
        if node.name == "HARD_SWISH":
            return np.clip(hard_swish(_codes(), *quants), -128, 127).astype(np.int8)
        if node.name == "LEAKY_RELU":
            alpha = float(node.op.options["alpha"])  # type: ignore[arg-type]
            return np.clip(leaky_relu(_codes(), *quants, alpha), -128, 127).astype(np.int8)
        low, high = -128, 127
        if node.name != "QUANTIZE":
            result = quant(node.outputs[0])
            low, high = activation_range(node.name, result.scales[0], result.zero_points[0])
        return np.clip(_rescaled(node), low, high).astype(np.int8)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return np.take(self.table(node), inputs[0].astype(np.int64) + 128).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        table = self.table(node)
        if np.array_equal(table, np.arange(-128, 128)):
            return view()
        count = int(np.prod(node.outputs[0].shape))
        text = array("table", np.roll(table, -128).tobytes())
        name = f"table_{digest(text)}"
        body = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, int32_t n)\n{{\n    {text.strip()}\n"
            "    for (int32_t i = 0; i < n; i++)\n"
            "        out[i] = ((const int8_t *)table)[(uint8_t)in[i]];\n}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]}, {count});"

        return Kernel(call, (), {name: body}, overlaps={0: Overlap(0)})
