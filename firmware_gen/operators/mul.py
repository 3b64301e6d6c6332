"""MUL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.cores import CoreFeatures
from multigraft.firmware_gen.fixed_point import quantize_multiplier
from multigraft.firmware_gen.kernel import Array, Kernel, Overlap, activation_range
from multigraft.firmware_gen.linear import quant
from multigraft.firmware_gen.operators.int8 import Int8, is_int8
from multigraft.firmware_gen.program import Node
from multigraft.firmware_gen.requantise import Rescaling
from multigraft.firmware_gen.text import digest


class Mul(Int8):
    """MUL of two tensors of one shape."""

    names = ("MUL",)
    summary = "int8, equal shapes, fused ReLU"

    def constraint_second(self, node: Node) -> bool:
        """Both inputs have to be computed int8 tensors of the output's shape (no broadcasting)."""
        other = node.input(1)
        same = is_int8(other) and node.input(0).shape == other.shape == node.outputs[0].shape
        return same and node.input(0).data is None and other.data is None

    def constraint_activation(self, node: Node) -> bool:
        """The fused activation has to be none, RELU, RELU6 or RELU_N1_TO_1."""
        return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")

    def _rescaling(self, node: Node) -> Rescaling:
        first, second, result = quant(node.input(0)), quant(node.input(1)), quant(node.outputs[0])
        # The product of the input scales is taken in float32, as in mul.cc.
        product = np.float32(first.scales[0]) * np.float32(second.scales[0])
        real = float(product / np.float32(result.scales[0]))
        low, high = activation_range(
            node.op.options.get("fused_activation_function"), result.scales[0], result.zero_points[0]
        )
        return Rescaling(*quantize_multiplier(real), result.zero_points[0], low, high)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None and inputs[1] is not None
        a = inputs[0].astype(np.int64) - quant(node.input(0)).zero_points[0]
        b = inputs[1].astype(np.int64) - quant(node.input(1)).zero_points[0]
        return self._rescaling(node).apply(a * b).astype(np.int8)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        r = self._rescaling(node)
        count = int(np.prod(node.outputs[0].shape))
        zero_points = [quant(node.input(i)).zero_points[0] for i in (0, 1)]
        product = f"(a[i] - ({zero_points[0]})) * (b[i] - ({zero_points[1]}))"
        value = f"mg_rescale({product}, {r.multiplier}, {r.shift}) + {r.zero_point}"
        body = f"out[i] = mg_clamp({value}, {r.low}, {r.high});"
        name = f"mul_{digest(body)}"
        text = (
            f"MG_KERNEL void {name}(const int8_t *a, const int8_t *b, int8_t *out, int32_t n)\n{{\n"
            f"    for (int32_t i = 0; i < n; i++)\n        {body}\n}}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {ins[1]}, {outs[0]}, {count});"

        return Kernel(call, (), {name: text}, overlaps={0: Overlap(0), 1: Overlap(0)})
