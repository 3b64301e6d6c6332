"""ADD and SUB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.cores import CoreFeatures
from multigraft.firmware_gen.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.kernel import Array, Kernel, Overlap, activation_range
from multigraft.firmware_gen.linear import quant
from multigraft.firmware_gen.operators.int8 import Int8, is_int8
from multigraft.firmware_gen.program import Node
from multigraft.firmware_gen.text import digest

_LEFT_SHIFT = 20


@dataclass(frozen=True)
class Sum:
    """The reference's arithmetic of one ADD or SUB."""

    terms: tuple[tuple[int, int, int], tuple[int, int, int]]  # offset, multiplier, shift
    result: tuple[int, int, int]
    low: int
    high: int

    def apply(self, a: Array, b: Array) -> Array:
        total: Array = np.zeros(1, np.int64)
        for x, (offset, multiplier, shift) in zip((a, b), self.terms, strict=True):
            shifted = (np.asarray(x, np.int64) + offset) << _LEFT_SHIFT
            total = total + rescale(shifted, multiplier, shift)
        offset, multiplier, shift = self.result
        return np.clip(rescale(total, multiplier, shift) + offset, self.low, self.high)

    def text(self, a: str, b: str) -> str:
        parts = [
            f"mg_rescale(({x} + {offset}) * {1 << _LEFT_SHIFT}, {multiplier}, {shift})"
            for x, (offset, multiplier, shift) in zip((a, b), self.terms, strict=True)
        ]
        offset, multiplier, shift = self.result
        return f"mg_rescale({parts[0]} + {parts[1]}, {multiplier}, {shift}) + {offset}"


@dataclass(frozen=True)
class Linear:
    """``(a * p + b * q + offset) >> shift``, in int32 or int64 arithmetic."""

    p: int
    q: int
    offset: int
    shift: int
    wide: bool

    def text(self, a: str, b: str) -> str:
        if self.wide:
            terms = f"(int64_t){a} * {self.p} + (int64_t){b} * {self.q} + INT64_C({self.offset})"
            return f"(int32_t)(({terms}) >> {self.shift})"
        return f"({a} * {self.p} + {b} * {self.q} + {self.offset}) >> {self.shift}"


def linear_form(wanted: Sum) -> Linear | None:
    """A linear form that equals ``wanted`` for all 65536 pairs, in int32 if there is one, or None."""
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), indexing="ij")
    table = wanted.apply(a, b)
    to_result = wanted.result[1] * 2.0 ** (wanted.result[2] - 31 + _LEFT_SHIFT)
    real_p, real_q = (m * 2.0 ** (s - 31) * to_result for _, m, s in wanted.terms)
    largest = max(abs(real_p), abs(real_q))
    span = 128 * (abs(real_p) + abs(real_q)) + 512
    narrow, wide = 30 - int(np.ceil(np.log2(span))), 30 - int(np.ceil(np.log2(largest)))
    for shift, is_wide in ((narrow, False), (wide, True)):
        for p in _near(real_p * 2.0**shift):
            for q in _near(real_q * 2.0**shift):
                products = a * p + b * q
                # Offset bounds: at every pair the result has to be the wanted value, or beyond the clamp.
                least = np.where(table > wanted.low, (table << shift) - products, np.iinfo(np.int64).min)
                most = np.where(table < wanted.high, ((table + 1) << shift) - 1 - products, np.iinfo(np.int64).max)
                low, high = int(least.max()), int(most.min())
                offset = (low + high) // 2
                if low <= high and (is_wide or np.abs(products).max() + abs(offset) < (1 << 31)):
                    return Linear(p, q, offset, shift, is_wide)
    return None


def _near(value: float) -> list[int]:
    centre = round(value)
    return [centre, centre + 1, centre - 1, centre + 2, centre - 2]


class AddSub(Int8):
    """ADD and SUB of two tensors of one shape."""

    names = ("ADD", "SUB")
    summary = "int8, equal shapes, fused ReLU"

    def constraint_second(self, node: Node) -> bool:
        """Both inputs have to be computed int8 tensors of the output's shape (no broadcasting)."""
        other = node.input(1)
        return is_int8(other) and node.input(0).shape == other.shape == node.outputs[0].shape

    def constraint_computed(self, node: Node) -> bool:
        """Neither input may be a constant."""
        return node.input(0).data is None and node.input(1).data is None

    def constraint_activation(self, node: Node) -> bool:
        """The fused activation has to be none, RELU, RELU6 or RELU_N1_TO_1."""
        return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")

    def sum(self, node: Node) -> Sum:
        first, second, result = quant(node.input(0)), quant(node.input(1)), quant(node.outputs[0])
        scales = [float(np.float32(q.scales[0])) for q in (first, second, result)]
        twice = 2 * max(scales[0], scales[1])
        m1, s1 = quantize_multiplier(scales[0] / twice)
        m2, s2 = quantize_multiplier(scales[1] / twice)
        m3, s3 = quantize_multiplier(twice / ((1 << _LEFT_SHIFT) * scales[2]))
        if node.name == "SUB":
            m2 = -m2
        low, high = activation_range(
            node.op.options.get("fused_activation_function"), result.scales[0], result.zero_points[0]
        )
        terms = ((-first.zero_points[0], m1, s1), (-second.zero_points[0], m2, s2))
        return Sum(terms, (result.zero_points[0], m3, s3), low, high)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None and inputs[1] is not None
        return self.sum(node).apply(inputs[0], inputs[1]).astype(np.int8)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        wanted = self.sum(node)
        count = int(np.prod(node.outputs[0].shape))
        linear = linear_form(wanted)
        value = (linear or wanted).text("a[i]", "b[i]")
        body = f"out[i] = mg_clamp({value}, {wanted.low}, {wanted.high});"
        name = f"add_{digest(body)}"
        text = (
            f"MG_KERNEL void {name}(const int8_t *a, const int8_t *b, int8_t *out, int32_t n)\n{{\n"
            f"    for (int32_t i = 0; i < n; i++)\n        {body}\n}}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {ins[1]}, {outs[0]}, {count});"

        return Kernel(call, (), {name: text}, overlaps={0: Overlap(0), 1: Overlap(0)}, pieces=name)
