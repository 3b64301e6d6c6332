"""The base of all operators: what it demands of a node, what it computes, how it looks in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.program.program import Node

Array = npt.NDArray[Any]


class Operator:
    """Base of all operators: what it demands, what it computes, how it looks in C.

    A constraint is a method named ``constraint_*`` whose docstring is what the user reads when it does not hold.
    """

    names: tuple[str, ...] = ()
    summary = ""

    def broken(self, node: Node) -> str | None:
        """The docstring of the first constraint that does not hold, or None."""
        for attribute in dir(self):
            if attribute.startswith("constraint_"):
                constraint = getattr(self, attribute)
                if not constraint(node):
                    return str(constraint.__doc__)
        return None

    def constraints(self) -> tuple[str, ...]:
        """All that the operator demands, one sentence each."""
        return tuple(str(getattr(self, a).__doc__) for a in dir(self) if a.startswith("constraint_"))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        """The output as tflite-runtime 2.14's reference kernel computes it, in numpy.

        Args:
            node: The operator.
            inputs: One array per input, constants included, of the tensors' shapes and dtypes.
        """
        raise NotImplementedError

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        """The operator as C for ``core``."""
        raise NotImplementedError
