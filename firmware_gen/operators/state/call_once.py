"""CALL_ONCE."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, view
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _constants(node: Node) -> bool:
    """The subgraph that is called may only assign constants to variables, of which there has to be one."""
    return bool(node.op.options.get("constants_only")) and len(node.outputs) > 0


class CallOnce(Operator):
    """CALL_ONCE: the initial values it assigns are constants of the firmware, which ``model_reset`` copies."""

    names = ("CALL_ONCE",)
    summary = "initial values of variables, assigned before the first inference and by model_reset()"
    constraints = (_constants,)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0]

    def references(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        return tuple(value for value in inputs if value is not None)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return view()
