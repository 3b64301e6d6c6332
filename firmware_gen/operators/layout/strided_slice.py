"""STRIDED_SLICE."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import bytes_shape, slicing_kernel
from multigraft.firmware_gen.operators.base.constraints import int8_or_words
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _bounds(node: Node) -> bool:
    """Begin, end and strides have to be constant, equally many, and the strides positive."""
    bounds = [node.input(i).data for i in (1, 2, 3)]
    given = [b for b in bounds if b is not None and b.dtype.kind == "i" and b.ndim == 1]
    if len(given) < 3 or len({b.size for b in given}) > 1 or given[0].size > len(node.input(0).shape):
        return False
    return bool(np.all(given[2] > 0))


def _masks(node: Node) -> bool:
    """There may be no ellipsis mask and no new-axis mask."""
    return not (node.op.options.get("ellipsis_mask") or node.op.options.get("new_axis_mask"))


def _slices(node: Node) -> list[slice]:
    begin, end, step = (np.asarray(node.input(i).data).reshape(-1).tolist() for i in (1, 2, 3))
    masks = {n: integer(node.op.options.get(n)) for n in ("begin_mask", "end_mask", "shrink_axis_mask")}
    result = []
    for axis, size in enumerate(node.input(0).shape):
        if axis >= len(begin):
            result.append(slice(0, size, 1))
            continue
        bit = 1 << axis
        first = None if masks["begin_mask"] & bit else begin[axis]
        last = None if masks["end_mask"] & bit else end[axis]
        if masks["shrink_axis_mask"] & bit:
            first = begin[axis] % size
            last = first + 1
        result.append(slice(*slice(first, last, step[axis]).indices(size)))
    return result


def _size(node: Node) -> bool:
    """There may be at most 6 dimensions, and the bounds have to give as many elements as the output has."""
    sizes = [len(range(s.start, s.stop, s.step)) for s in _slices(node)]
    return len(sizes) <= 6 and math.prod(sizes) == math.prod(node.outputs[0].shape)


class StridedSlice(Operator):
    """STRIDED_SLICE with constant bounds."""

    names = ("STRIDED_SLICE",)
    summary = "int8, or words of a binary network; constant bounds, positive strides"
    constraints = (int8_or_words, _bounds, _masks, _size)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0][tuple(_slices(node))].reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shape = bytes_shape(node.input(0))
        bytes_of = [slice(0, size, 1) for size in shape[len(node.input(0).shape) :]]
        return slicing_kernel(shape, [*_slices(node), *bytes_of])
