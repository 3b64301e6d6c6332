"""VAR_HANDLE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, view
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _type(node: Node) -> bool:
    """The variable has to be int8."""
    return node.outputs[0].dtype == "int8"


class VarHandle(Operator):
    """VAR_HANDLE: the variable's place is known when the firmware is generated, so nothing is left to do."""

    names = ("VAR_HANDLE",)
    summary = "a variable of a streaming network; its memory outlives the inference"
    constraints = (_type,)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0]

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return view()
