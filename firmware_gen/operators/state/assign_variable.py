"""ASSIGN_VARIABLE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _type(node: Node) -> bool:
    """What is assigned has to be int8 with one scale."""
    return is_int8(node.input(1))


def _shape(node: Node) -> bool:
    """What is assigned has to have the shape of the variable's initial value."""
    return node.input(1).shape == node.outputs[0].shape


class AssignVariable(Operator):
    """ASSIGN_VARIABLE."""

    names = ("ASSIGN_VARIABLE",)
    summary = "int8; a copy to memory that outlives the inference, made whichever tasks are asked for"
    constraints = (_type, _shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[1] is not None
        return inputs[1].reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        value = node.input(1).data
        size = node.outputs[0].stored_bytes

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            source = ins[1] if value is None else f"(const int8_t *)(const void *){constants}"
            return f"mg_copy({outs[0]}, {source}, {size});"

        return Kernel(call, constant=b"" if value is None else value.tobytes())
