"""DEQUANTIZE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import array, digest
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import is_bytes, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import by_byte, look_up
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _types(node: Node) -> bool:
    """The input has to be int8 or uint8 with one scale, the output float32."""
    return is_bytes(node.input(0)) and node.outputs[0].dtype == "float32"


class Dequantize(Operator):
    """DEQUANTIZE: the 256 results are computed here, so that a core without floating point needs none."""

    names = ("DEQUANTIZE",)
    summary = "int8 or uint8 to float32, a table of 1 KiB in flash"
    constraints = (same_shape, _types)

    def table(self, node: Node) -> Array:
        """The result of each of the 256 bytes, float32."""
        source = quant(node.input(0))
        # dequantize.h multiplies in double and rounds once.
        scale = float(np.float32(source.scales[0]))
        return (scale * (by_byte(node.input(0).dtype) - source.zero_points[0])).astype(np.float32)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(self.table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        count = int(np.prod(node.outputs[0].shape))
        text = array("table", self.table(node).astype("<f4").tobytes())
        name = f"dequantize_{digest(text)}"
        body = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, int32_t n)\n{{\n    {text.strip()}\n"
            "    for (int32_t i = 0; i < n; i++)\n"
            "        memcpy(out + 4 * i, table + (uint8_t)in[i], 4);\n}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]}, {count});"

        return Kernel(call, (), {name: body})
