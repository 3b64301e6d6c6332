"""C loops that copy one strided block of bytes to another: PAD, CONCATENATION, STRIDED_SLICE, TRANSPOSE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.tflite.graph import Tensor


def bytes_shape(tensor: Tensor) -> tuple[int, ...]:
    """The tensor's shape as one of bytes: elements of several have an axis of these behind."""
    size = np.dtype(tensor.dtype).itemsize
    return tensor.shape if size == 1 else (*tensor.shape, size)


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a dense tensor."""
    result, step = [], 1
    for size in reversed(shape):
        result.append(step)
        step *= size
    return result[::-1]


def broadcast_strides(shape: Sequence[int], rank: int) -> list[int]:
    """Elements between neighbours along each of ``rank`` axes; 0 where the tensor is repeated, as numpy does."""
    whole = (*(1,) * (rank - len(shape)), *shape)
    return [0 if size == 1 else stride for size, stride in zip(whole, strides_of(whole), strict=True)]


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


def transposing_kernel(kind: str, shape: Sequence[int], order: Sequence[int]) -> Kernel:
    """A tensor of ``shape`` with its axes in another order."""
    strides = strides_of(shape)
    sizes = [shape[a] for a in order]
    return copy_kernel(kind, copy_loops(sizes, strides_of(sizes), [strides[a] for a in order]))


def slicing_kernel(shape: Sequence[int], slices: Sequence[slice]) -> Kernel:
    """Part of a tensor of ``shape``; of each axis a slice with start, stop and a step from 1 on, all of them within."""
    strides = strides_of(shape)
    sizes = [len(range(s.start, s.stop, s.step)) for s in slices]
    first = sum(s.start * stride for s, stride in zip(slices, strides, strict=True))
    steps = [s.step * stride for s, stride in zip(slices, strides, strict=True)]
    return copy_kernel("slice", f"from += {first};\n    {copy_loops(sizes, strides_of(sizes), steps)}")


def joining_kernel(shapes: Sequence[Sequence[int]], result: Sequence[int], axis: int) -> Kernel:
    """Tensors of ``shapes`` side by side along an axis of the result."""
    strides = strides_of(result)
    functions, names, offsets, offset = {}, [], [], 0
    for shape in shapes:
        body = copy_loops(shape, strides, strides_of(shape))
        name = f"copy_{digest(body)}"
        functions[name] = copy_function(name, body)
        names.append(name)
        offsets.append(offset)
        offset += shape[axis] * strides[axis]

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        calls = zip(names, ins, offsets, strict=True)
        return " ".join(f"{name}({source}, {outs[0]} + {at});" for name, source, at in calls)

    return Kernel(call, (), functions)
