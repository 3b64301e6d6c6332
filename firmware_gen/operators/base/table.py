"""Functions of one stored value as a table of 256 results, which is computed here and read on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.kernels.c_text import array, digest
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap, view
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

SUMMARY = "int8 to int8, a table of 256 bytes in flash"


def by_byte(dtype: str = "int8") -> Array:
    """The value that each of the 256 bytes stores as int8 or uint8, int64: what a table is computed from."""
    return np.arange(256, dtype=np.uint8).view(dtype).astype(np.int64)


def limits(dtype: str) -> tuple[int, int]:
    """The least and the greatest value of int8 or uint8."""
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def rescaled(node: Node) -> Array:
    """The stored output of every stored input where the value stays the same, int64, not yet clamped."""
    stored = by_byte(node.input(0).dtype)
    source, result = quant(node.input(0)), quant(node.outputs[0])
    multiplier, shift = quantize_multiplier(float(np.float32(source.scales[0])) / float(np.float32(result.scales[0])))
    return rescale(stored - source.zero_points[0], multiplier, shift) + result.zero_points[0]


def look_up(table: Array, node: Node, inputs: Sequence[Array | None]) -> Array:
    """The output by a table of 256 values, the first of them being the one for a byte of 0."""
    assert inputs[0] is not None
    return np.take(table, inputs[0].view(np.uint8)).reshape(node.outputs[0].shape)


def table_kernel(table: Array, node: Node) -> Kernel:
    """The C that looks up a table of 256 bytes, the first being the one for a byte of 0; nothing where all stay."""
    if np.array_equal(table.view(np.uint8), np.arange(256)):
        return view()
    count = int(np.prod(node.outputs[0].shape))
    text = array("table", table.tobytes())
    name = f"table_{digest(text)}"
    body = (
        f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, int32_t n)\n{{\n    {text.strip()}\n"
        "    for (int32_t i = 0; i < n; i++)\n"
        "        out[i] = ((const int8_t *)table)[(uint8_t)in[i]];\n}\n"
    )

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{name}({ins[0]}, {outs[0]}, {count});"

    return Kernel(call, (), {name: body}, overlaps={0: Overlap(0)})
