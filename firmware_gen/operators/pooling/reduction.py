"""What operators that reduce axes have in common: which axes, and the loops in C."""

from __future__ import annotations

from multigraft.firmware_gen.kernels.strided_copy import strides_of
from multigraft.firmware_gen.program.program import Node


def axes_of(node: Node) -> tuple[int, ...]:
    """The axes that are reduced, in order, each once; empty if they are not constant or none of the input's."""
    given, rank = node.input(1).data, len(node.input(0).shape)
    if given is None or given.dtype.kind != "i" or rank > 6:
        return ()
    axes = {int(a) + rank if a < 0 else int(a) for a in given.reshape(-1)}
    return tuple(sorted(axes)) if axes and all(0 <= a < rank for a in axes) else ()


def fits(node: Node) -> bool:
    """The axes have to be constant, of at most 6 dimensions, and have to give the output's shape."""
    axes, shape, result = axes_of(node), node.input(0).shape, node.outputs[0].shape
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    ones = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return bool(axes) and result in (kept, ones)


def reduction_loops(node: Node, start: str, step: str, result: str) -> str:
    """Statements that reduce ``in`` to ``out``.

    Args:
        node: Its axes are those reduced.
        start: C of an int32 that each reduction begins with.
        step: C of the next ``value``, with ``{}`` for the element.
        result: C of the output, an int8, from ``value``.
    """
    shape, axes = node.input(0).shape, axes_of(node)
    loops = [(axis, size, stride) for axis, (size, stride) in enumerate(zip(shape, strides_of(shape), strict=True))]
    outer = [loop for loop in loops if loop[0] not in axes and loop[1] != 1]
    inner = [loop for loop in loops if loop[0] in axes and loop[1] != 1]
    place = " + ".join(f"i{axis} * {stride}" for axis, _, stride in (*outer, *inner)) or "0"

    def heads(of: list[tuple[int, int, int]]) -> str:
        return " ".join(f"for (int32_t i{axis} = 0; i{axis} < {size}; i{axis}++)" for axis, size, _ in of)

    return (
        f"{heads(outer)} {{\n        int32_t value = {start};\n"
        f"        {heads(inner)}\n            value = {step.format(f'in[{place}]')};\n"
        f"        *out++ = {result};\n    }}"
    ).lstrip()
