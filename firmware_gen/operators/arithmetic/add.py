"""ADD and SUB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.arithmetic.fixed_point import doubling_high_multiply, quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.elementwise import CONSTRAINTS, SUMMARY, Formula, elementwise_kernel
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_LEFT_SHIFT = 20
_RAISED = 23


@dataclass(frozen=True)
class Sum:
    """The reference's arithmetic of one ADD or SUB."""

    terms: tuple[tuple[int, int, int], tuple[int, int, int]]  # offset, multiplier, shift
    result: tuple[int, int, int]
    low: int
    high: int

    def apply(self, a: Array, b: Array) -> Array:
        """The stored outputs (int64) of stored inputs that fit together by broadcasting."""
        total: Array = np.zeros(1, np.int64)
        for x, (offset, multiplier, shift) in zip((a, b), self.terms, strict=True):
            shifted = (np.asarray(x, np.int64) + offset) << _LEFT_SHIFT
            total = total + rescale(shifted, multiplier, shift)
        offset, multiplier, shift = self.result
        return np.clip(rescale(total, multiplier, shift) + offset, self.low, self.high)

    def text(self, a: str, b: str) -> str:
        """C that computes the output, not yet clamped, from the int32 expressions ``a`` and ``b``."""
        parts = [
            f"mg_rescale(({x} + {offset}) * {1 << _LEFT_SHIFT}, {multiplier}, {shift})"
            for x, (offset, multiplier, shift) in zip((a, b), self.terms, strict=True)
        ]
        offset, multiplier, shift = self.result
        return f"mg_rescale({parts[0]} + {parts[1]}, {multiplier}, {shift}) + {offset}"

    def vector_text(self) -> str:
        """C for Helium that computes int32x4_t sum from x and y; empty where a shift is to the left."""
        if max(shift for _, _, shift in (*self.terms, self.result)) > 0:
            return ""
        parts = [
            f"mg_rescale_mve(vshlq_n_s32(vaddq_n_s32({x}, {offset}), {_LEFT_SHIFT}), vdupq_n_s32({multiplier}),"
            f" vdupq_n_s32({shift}))"
            for x, (offset, multiplier, shift) in zip("xy", self.terms, strict=True)
        ]
        offset, multiplier, shift = self.result
        total = f"mg_rescale_mve(vaddq_s32({parts[0]}, {parts[1]}), vdupq_n_s32({multiplier}), vdupq_n_s32({shift}))"
        return f"int32x4_t sum = vaddq_n_s32({total}, {offset});"


@dataclass(frozen=True)
class LinearForm:
    """``(a * p + b * q + offset) >> shift``, in int32 or int64 arithmetic."""

    p: int
    q: int
    offset: int
    shift: int
    wide: bool

    def text(self, a: str, b: str) -> str:
        """C that computes the output, not yet clamped, from the int32 expressions ``a`` and ``b``."""
        if self.wide:
            first = f"mg_multiply_add(INT64_C({self.offset}), {a}, {self.p})"
            return f"(int32_t)(mg_multiply_add({first}, {b}, {self.q}) >> {self.shift})"
        return f"({a} * {self.p} + {b} * {self.q} + {self.offset}) >> {self.shift}"

    def vector_text(self) -> str:
        """C for Helium that computes int32x4_t sum from x and y; empty where that takes 64 bits."""
        if self.wide or not 0 < self.shift <= 32:
            return ""
        products = f"vmlaq_n_s32(vmlaq_n_s32(vdupq_n_s32({self.offset}), x, {self.p}), y, {self.q})"
        return f"int32x4_t sum = vshrq_n_s32({products}, {self.shift});"


@dataclass(frozen=True)
class RoundedForm:
    """``(high(a << 23, p) + high(b << 23, q) + offset) >> shift`` in lanes of 32 bits; ``high`` is VQRDMULH."""

    p: int
    q: int
    offset: int
    shift: int

    def vector_text(self) -> str:
        """C for Helium that computes int32x4_t sum from x and y."""
        x, y = (f"vqrdmulhq_n_s32(vshlq_n_s32({v}, {_RAISED}), {m})" for v, m in (("x", self.p), ("y", self.q)))
        return f"int32x4_t sum = vshrq_n_s32(vaddq_n_s32(vaddq_s32({x}, {y}), {self.offset}), {self.shift});"


def linear_form(wanted: Sum) -> LinearForm | None:
    """A linear form that equals ``wanted`` for all 65536 pairs, in int32 if there is one, or None."""
    a, b = _pairs()
    table = wanted.apply(a, b)
    real_p, real_q, narrow = _factors(wanted)
    wide = 30 - int(np.ceil(np.log2(max(abs(real_p), abs(real_q)))))
    for shift, is_wide in ((narrow, False), (wide, True)):
        for p in _near(real_p * 2.0**shift):
            for q in _near(real_q * 2.0**shift):
                products = a * p + b * q
                offset = _offset(wanted, table, products, shift)
                if offset is not None and (is_wide or np.abs(products).max() + abs(offset) < (1 << 31)):
                    return LinearForm(p, q, offset, shift, is_wide)
    return None


def rounded_form(wanted: Sum) -> RoundedForm | None:
    """A form in 32-bit lanes that equals ``wanted`` for all 65536 pairs where no narrow linear form does, or None."""
    a, b = _pairs()
    table = wanted.apply(a, b)
    real_p, real_q, shift = _factors(wanted)
    raise_by = 31 - _RAISED + shift
    if not 0 < shift <= 32 or max(abs(real_p), abs(real_q)) * 2.0**raise_by > (1 << 31) - 8:
        return None
    for p in _near(real_p * 2.0**raise_by):
        for q in _near(real_q * 2.0**raise_by):
            products = doubling_high_multiply(a << _RAISED, p) + doubling_high_multiply(b << _RAISED, q)
            offset = _offset(wanted, table, products, shift)
            if offset is not None and np.abs(products).max() + abs(offset) < (1 << 31):
                return RoundedForm(p, q, offset, shift)
    return None


def _pairs() -> tuple[Array, Array]:
    codes = np.arange(-128, 128)
    a, b = np.meshgrid(codes, codes, indexing="ij")
    return a, b


def _factors(wanted: Sum) -> tuple[float, float, int]:
    """What the operands are multiplied by, and the largest shift at which their sum fits 32 bits."""
    to_result = wanted.result[1] * 2.0 ** (wanted.result[2] - 31 + _LEFT_SHIFT)
    real_p, real_q = (m * 2.0 ** (s - 31) * to_result for _, m, s in wanted.terms)
    return real_p, real_q, 30 - int(np.ceil(np.log2(128 * (abs(real_p) + abs(real_q)) + 512)))


def _offset(wanted: Sum, table: Array, products: Array, shift: int) -> int | None:
    """What has to be added to ``products`` so that their shift gives ``table``, or lies beyond the clamp; or None."""
    least = np.where(table > wanted.low, (table << shift) - products, np.iinfo(np.int64).min)
    most = np.where(table < wanted.high, ((table + 1) << shift) - 1 - products, np.iinfo(np.int64).max)
    low, high = int(least.max()), int(most.min())
    return (low + high) // 2 if low <= high else None


def _near(value: float) -> list[int]:
    centre = round(value)
    return [centre, centre + 1, centre - 1, centre + 2, centre - 2]


class AddSub(Operator):
    """ADD and SUB."""

    names = ("ADD", "SUB")
    summary = SUMMARY
    constraints = CONSTRAINTS

    def _sum(self, node: Node) -> Sum:
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
        return self._sum(node).apply(inputs[0], inputs[1]).astype(np.int8)

    def _formula(self, node: Node) -> Formula:
        wanted = self._sum(node)
        linear = linear_form(wanted)
        vector = linear.vector_text() if linear else ""
        if not vector:
            rounded = rounded_form(wanted)
            vector = rounded.vector_text() if rounded else wanted.vector_text()
        return Formula((linear or wanted).text("x", "y"), vector, wanted.low, wanted.high)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return elementwise_kernel(node, self._formula(node), core)
