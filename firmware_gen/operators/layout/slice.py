"""SLICE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import slicing_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _begin(node: Node) -> list[int] | None:
    begin, shape = node.input(1).data, node.input(0).shape
    if begin is None or begin.dtype.kind != "i" or begin.size != len(shape):
        return None
    return [int(b) for b in begin.reshape(-1)]


def _slices(node: Node) -> list[slice]:
    begin = _begin(node)
    assert begin is not None
    return [slice(b, b + n, 1) for b, n in zip(begin, node.outputs[0].shape, strict=True)]


def _fits(node: Node) -> bool:
    """Where it begins has to be constant, of at most 6 dimensions, and the output has to lie within the input."""
    begin, shape, result = _begin(node), node.input(0).shape, node.outputs[0].shape
    if begin is None or len(shape) > 6 or len(result) != len(shape):
        return False
    return all(b >= 0 and b + n <= size for b, n, size in zip(begin, result, shape, strict=True))


class Slice(Operator):
    """SLICE: a block of the input."""

    names = ("SLICE",)
    summary = "int8, constant begin"
    constraints = (int8, same_scale, _fits)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0][tuple(_slices(node))]

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return slicing_kernel(node.input(0).shape, _slices(node))
