"""BATCH_MATMUL."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import broadcast_strides
from multigraft.firmware_gen.operators.base.constraints import int8, two_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_MOST_TAPS = 1 << 15
"""Products of one sum, so that it fits 32 bits."""


def _sizes(node: Node) -> tuple[int, int, int, int]:
    """Rows, columns, and what is summed over as each operand has it."""
    a, b = node.input(0).shape[-2:], node.input(1).shape[-2:]
    if node.op.options.get("adj_x"):
        a = a[::-1]
    if node.op.options.get("adj_y"):
        b = b[::-1]
    return a[0], b[1], a[1], b[0]


def _fits(node: Node) -> bool:
    """The inputs' matrices and batches have to fit together and give the output, of at most 5 dimensions."""
    shapes = [node.input(0).shape, node.input(1).shape]
    if min(map(len, shapes)) < 2 or max(map(len, shapes)) > 5:
        return False
    rows, columns, taps, others = _sizes(node)
    try:
        batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    except ValueError:
        return False
    return taps == others <= _MOST_TAPS and (*batch, rows, columns) == node.outputs[0].shape


class BatchMatmul(Operator):
    """BATCH_MATMUL: products of matrices, either of which may be turned."""

    names = ("BATCH_MATMUL",)
    summary = "int8, either input constant, batches broadcast, either matrix turned"
    constraints = (int8, two_int8, _fits)

    def _arithmetic(self, node: Node) -> tuple[tuple[int, int, int], int, int]:
        """Zero points, multiplier and shift; the product of the scales is float32."""
        a, b, result = (quant(t) for t in (node.input(0), node.input(1), node.outputs[0]))
        product = float(np.float32(a.scales[0]) * np.float32(b.scales[0]))
        multiplier, shift = quantize_multiplier(product / float(np.float32(result.scales[0])))
        return (a.zero_points[0], b.zero_points[0], result.zero_points[0]), multiplier, shift

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        (zero_a, zero_b, zero), multiplier, shift = self._arithmetic(node)
        assert inputs[0] is not None and inputs[1] is not None
        a, b = inputs[0].astype(np.int64) - zero_a, inputs[1].astype(np.int64) - zero_b
        a = a.swapaxes(-1, -2) if node.op.options.get("adj_x") else a
        b = b.swapaxes(-1, -2) if node.op.options.get("adj_y") else b
        return np.clip(rescale(a @ b, multiplier, shift) + zero, -128, 127).astype(np.int8)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        (zero_a, zero_b, zero), multiplier, shift = self._arithmetic(node)
        rows, columns, taps, _ = _sizes(node)
        a_steps = (1, rows) if node.op.options.get("adj_x") else (taps, 1)
        b_steps = (taps, 1) if node.op.options.get("adj_y") else (1, columns)
        body = (
            f"for (int32_t y = 0; y < {rows}; y++)\n        for (int32_t x = 0; x < {columns}; x++) {{\n"
            "            int32_t sum = 0;\n"
            f"            for (int32_t i = 0; i < {taps}; i++)\n"
            f"                sum += (a[y * {a_steps[0]} + i * {a_steps[1]}] - ({zero_a})) *\n"
            f"                       (b[x * {b_steps[0]} + i * {b_steps[1]}] - ({zero_b}));\n"
            f"            *out++ = mg_clamp(mg_rescale(sum, {multiplier}, {shift}) + {zero}, -128, 127);\n        }}"
        )
        name = f"matmul_{digest(body)}"
        text = f"MG_KERNEL void {name}(const int8_t *a, const int8_t *b, int8_t *out)\n{{\n    {body}\n}}\n"
        places = _places(node)
        values = [node.input(0).data, node.input(1).data]
        constant = b"".join(np.ascontiguousarray(v.astype(np.int8)).tobytes() for v in values if v is not None)

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            a, b = (
                p if v is None else f"(const int8_t *)(const void *){constants}"
                for p, v in zip(ins, values, strict=True)
            )
            return "\n".join(
                f"{name}({a} + {at_a}, {b} + {at_b}, {outs[0]} + {k * rows * columns});"
                for k, (at_a, at_b) in enumerate(places)
            )

        return Kernel(call, (), {name: text}, constant)


def _places(node: Node) -> list[tuple[int, int]]:
    """Where the matrices of each product of the batch begin."""
    batch = node.outputs[0].shape[:-2]
    places = []
    for position in (0, 1):
        shape = node.input(position).shape
        steps = broadcast_strides(shape[:-2], len(batch))
        size = math.prod(shape[-2:])
        places.append([size * sum(i * s for i, s in zip(at, steps, strict=True)) for at in np.ndindex(*batch)])
    return list(zip(*places, strict=True))
