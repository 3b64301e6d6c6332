"""READ_VARIABLE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _initial(node: Node) -> bool:
    """The variable has to get an initial value by CALL_ONCE."""
    return bool(node.op.options.get("initialised"))


def _shape(node: Node) -> bool:
    """What is read has to have the shape of the variable's initial value."""
    return node.input(0).shape == node.outputs[0].shape


class ReadVariable(Operator):
    """READ_VARIABLE: a copy, or the variable itself where it is assigned only after the last use of what was read."""

    names = ("READ_VARIABLE",)
    summary = "int8; free where the variable is assigned after the last use of what was read"
    constraints = (int8, _initial, _shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0].reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        size = node.outputs[0].stored_bytes

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"mg_copy({outs[0]}, {ins[0]}, {size});"

        return Kernel(call)
