"""LceQuantize and LceDequantize."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.firmware_gen.operators.base.constraints import is_words
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.binary.demands import HEADERS, is_value
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array
from multigraft.tflite.words import bits_of, packed, words_of


def _packs(node: Node) -> bool:
    """The input has to be float32, or int8 with one scale, the output int32 words of its channels."""
    source, result = node.input(0), node.outputs[0]
    if not is_value(source) or not is_words(result):
        return False
    return result.shape == (*source.shape[:-1], words_of(source.shape[-1]))


def _unpacks(node: Node) -> bool:
    """The input has to be int32 words of the output's channels, the output float32, or int8 with one scale."""
    source, result = node.input(0), node.outputs[0]
    if not is_value(result) or not is_words(source):
        return False
    return source.shape == (*result.shape[:-1], words_of(result.shape[-1]))


class LceQuantize(Operator):
    """LceQuantize: a bit per value."""

    names = ("LceQuantize",)
    summary = "int8 or, as the network's input, float32 to words of 32 channels"
    constraints = (_packs,)

    def _zero_point(self, node: Node) -> int:
        return quant(node.input(0)).zero_points[0] if node.input(0).dtype == "int8" else 0

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return packed(inputs[0], self._zero_point(node))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shape = node.input(0).shape
        kind = "int8" if node.input(0).dtype == "int8" else "float"
        zero = f", {self._zero_point(node)}" if kind == "int8" else ""
        body = f"mg_pack_{kind}(in, out, {math.prod(shape[:-1])}, {shape[-1]}{zero});"
        return function_kernel("pack", body, HEADERS)


class LceDequantize(Operator):
    """LceDequantize: bits to 1 and -1."""

    names = ("LceDequantize",)
    summary = "words of 32 channels to int8 or, as the network's answer, float32"
    constraints = (_unpacks,)

    def _ends(self, node: Node) -> tuple[int, int]:
        """1 and -1 as they are stored."""
        result = quant(node.outputs[0])
        reciprocal = np.float32(1) / np.float32(result.scales[0])
        step = min(math.floor(float(reciprocal) + 0.5), 1 << 16)
        return min(result.zero_points[0] + step, 127), max(result.zero_points[0] - step, -128)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        result = node.outputs[0]
        bits = bits_of(inputs[0], result.shape[-1])
        one, minus_one = self._ends(node) if result.dtype == "int8" else (1, -1)
        return np.where(bits == 1, minus_one, one).astype(result.dtype)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shape, rows = node.outputs[0].shape, math.prod(node.outputs[0].shape[:-1])
        if node.outputs[0].dtype == "float32":
            body = f"mg_unpack_float(in, out, {rows}, {shape[-1]});"
        else:
            one, minus_one = self._ends(node)
            body = f"mg_unpack_int8(in, out, {rows}, {shape[-1]}, {one}, {minus_one});"
        return function_kernel("unpack", body, HEADERS)
