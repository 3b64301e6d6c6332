"""C for operators that combine two tensors element by element, one of which may be repeated (numpy's broadcasting)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap
from multigraft.firmware_gen.kernels.strided_copy import broadcast_strides
from multigraft.firmware_gen.operators.base.constraints import fused_activation, int8, two_int8
from multigraft.firmware_gen.operators.base.operator import Constraint
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

MOST_LOOPS = 5


@dataclass(frozen=True)
class Axis:
    """One loop over the output: how many turns, and how far each operand moves per turn (0: it is repeated)."""

    size: int
    a: int
    b: int


def axes(shape: Sequence[int], a: Sequence[int], b: Sequence[int]) -> list[Axis]:
    """The fewest loops, outermost first, that visit an output of ``shape`` in order with its operands."""
    steps = (broadcast_strides(operand, len(shape)) for operand in (a, b))
    loops: list[Axis] = []
    for axis in (Axis(*row) for row in zip(shape, *steps, strict=True) if row[0] != 1):
        last = loops[-1] if loops else None
        if last is not None and (last.a, last.b) == (axis.a * axis.size, axis.b * axis.size):
            loops[-1] = Axis(last.size * axis.size, axis.a, axis.b)
        else:
            loops.append(axis)
    return loops or [Axis(1, 1, 1)]


@dataclass(frozen=True)
class Formula:
    """One output in C.

    Attributes:
        scalar: An int32 expression over the int32 values ``x`` and ``y``, to be clamped.
        vector: Statements that compute int32x4_t ``sum`` from int32x4_t ``x`` and ``y``; empty if there are none.
        low: Least result.
        high: Greatest result.
    """

    scalar: str
    vector: str
    low: int
    high: int


def _shapes(node: Node) -> bool:
    """The inputs' shapes have to fit together by broadcasting, in at most 5 loops."""
    a, b, result = node.input(0).shape, node.input(1).shape, node.outputs[0].shape
    try:
        fits = np.broadcast_shapes(a, b) == result
    except ValueError:
        return False
    return fits and len(axes(result, a, b)) <= MOST_LOOPS


SUMMARY = "int8, broadcasting, either input constant, fused ReLU"
CONSTRAINTS: tuple[Constraint, ...] = (int8, fused_activation, two_int8, _shapes)


def elementwise_kernel(node: Node, formula: Formula, core: CoreFeatures) -> Kernel:
    """The C that computes ``formula`` for every element; a constant operand lies in flash."""
    first, second = node.input(0), node.input(1)
    loops = axes(node.outputs[0].shape, first.shape, second.shape)
    inner = loops[-1]
    vector = core.mve and bool(formula.vector)
    text = _function(formula, inner, vector)
    name = f"{node.name.lower()}_{digest(text)}"
    text = f"MG_KERNEL void {name}(const int8_t *a, const int8_t *b, int8_t *out, int32_t n)\n{text}"
    values = [t.data for t in (first, second)]
    constant = b"".join(_bytes(d) for d in values if d is not None)

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        a, b = (
            p if d is None else f"(const int8_t *)(const void *){constants}" for p, d in zip(ins, values, strict=True)
        )
        return _loops(name, loops, a, b, outs[0])

    plain = len(loops) == 1 and inner.a == inner.b == 1
    overlaps = {
        position: Overlap(0)
        for position, operand in enumerate((first, second))
        if operand.data is None and operand.shape == node.outputs[0].shape
    }
    return Kernel(
        call, ("mve.h",) if vector else (), {name: text}, constant, overlaps=overlaps,
        pieces=name if plain and not constant else None,
    )  # fmt: skip


def _bytes(data: Array) -> bytes:
    return np.ascontiguousarray(data.astype(np.int8)).tobytes()


def _loops(name: str, loops: Sequence[Axis], a: str, b: str, out: str) -> str:
    """Statements that run the function over the last loop in every turn of the others."""
    names = "ijkl"
    lines, step, places = [], 1, []
    for axis in reversed(loops):
        places.append(step)
        step *= axis.size
    places = places[::-1]
    for depth, axis in enumerate(loops[:-1]):
        i = names[depth]
        lines.append("    " * depth + f"for (int32_t {i} = 0; {i} < {axis.size}; {i}++)")
    terms = {
        pointer: "".join(
            f" + {i} * {step}" for i, step in zip(names, steps[:-1], strict=False) if step
        )
        for pointer, steps in (("a", [x.a for x in loops]), ("b", [x.b for x in loops]), ("out", places))
    }  # fmt: skip
    lines.append(
        "    " * (len(loops) - 1)
        + f"{name}({a}{terms['a']}, {b}{terms['b']}, {out}{terms['out']}, {loops[-1].size});"
    )  # fmt: skip
    return "\n".join(lines)


def _function(formula: Formula, inner: Axis, vector: bool) -> str:
    """Body of the innermost loop's function; an operand that is repeated in it is read once."""
    if not vector:
        operands = [f"const int32_t {v} = {p}[{'i' if step else '0'}];" for v, p, step in _operands(inner)]
        return (
            "{\n    for (int32_t i = 0; i < n; i++) {\n"
            + "".join(f"        {line}\n" for line in operands)
            + f"        out[i] = mg_clamp({formula.scalar}, {formula.low}, {formula.high});\n    }}\n}}\n"
        )
    fixed = [f"const int32x4_t {v} = vdupq_n_s32(*{p});" for v, p, step in _operands(inner) if not step]
    moving = [f"const int32x4_t {v} = vldrbq_z_s32({p} + i, some);" for v, p, step in _operands(inner) if step]
    return (
        "{\n"
        + "".join(f"    {line}\n" for line in fixed)
        + "    for (int32_t i = 0; i < n; i += 4) {\n        const mve_pred16_t some = vctp32q((uint32_t)(n - i));\n"
        + "".join(f"        {line}\n" for line in moving)
        + f"        {formula.vector}\n"
        f"        sum = vminq_s32(vmaxq_s32(sum, vdupq_n_s32({formula.low})), vdupq_n_s32({formula.high}));\n"
        "        vstrbq_p_s32(out + i, sum, some);\n    }\n}\n"
    )


def _operands(inner: Axis) -> list[tuple[str, str, int]]:
    return [("x", "a", inner.a), ("y", "b", inner.b)]
