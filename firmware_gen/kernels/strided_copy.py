"""C loops that copy one strided block of bytes to another: PAD, CONCATENATION, STRIDED_SLICE, TRANSPOSE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a dense tensor."""
    result, step = [], 1
    for size in reversed(shape):
        result.append(step)
        step *= size
    return result[::-1]


def copy_loops(sizes: Sequence[int], to_strides: Sequence[int], from_strides: Sequence[int]) -> str:
    """Statements that copy ``sizes`` elements from ``from`` to ``to`` (both ``int8_t *``)."""
    axes = [(n, t, f) for n, t, f in zip(sizes, to_strides, from_strides, strict=True) if n != 1]
    run = 1
    while axes and axes[-1][1] == run and axes[-1][2] == run:
        run *= axes.pop()[0]
    names = "ijklmn"
    lines = []
    for depth, (n, _, _) in enumerate(axes):
        i = names[depth]
        lines.append("    " * depth + f"for (int32_t {i} = 0; {i} < {n}; {i}++)")
    to = " + ".join(["to", *(f"{i} * {t}" for i, (_, t, _) in zip(names, axes, strict=False))])
    source = " + ".join(["from", *(f"{i} * ({f})" for i, (_, _, f) in zip(names, axes, strict=False))])
    pad = "    " * len(axes)
    lines.append(f"{pad}memcpy({to}, {source}, {run});" if run > 1 else f"{pad}*({to}) = *({source});")
    return "\n    ".join(lines)


def copy_function(name: str, body: str) -> str:
    """A C function ``name(from, to)`` with ``body``."""
    return f"MG_KERNEL void {name}(const int8_t *from, int8_t *to)\n{{\n    {body}\n}}\n"


def copy_kernel(kind: str, body: str) -> Kernel:
    """One C function ``kind_…(from, to)`` with ``body``."""
    return function_kernel(kind, body, pointers=("from", "to"))
