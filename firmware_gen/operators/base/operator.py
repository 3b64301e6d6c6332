"""The base of all operators: what it demands of a node, what it computes, how it looks in C."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

Constraint = Callable[[Node], bool]
"""Whether a node is as an operator demands it; the docstring is what the user reads when it is not."""


def sentence(constraint: Constraint) -> str:
    """The demand as users read it, in the message and in the documentation."""
    return inspect.cleandoc(constraint.__doc__ or "").replace("\n", " ")


class Operator(ABC):
    """What an operator demands, what it computes, how it looks in C.

    Attributes:
        names: The TFLite operators it stands for.
        summary: What it takes, for the documentation.
        constraints: What it demands of a node, in the order in which it is checked: a constraint may rely on those
            before it.
    """

    names: tuple[str, ...] = ()
    summary = ""
    constraints: tuple[Constraint, ...] = ()

    def broken(self, node: Node) -> str | None:
        """The sentence of the first constraint that does not hold, or None."""
        return next((sentence(c) for c in self.constraints if not c(node)), None)

    def demands(self) -> tuple[str, ...]:
        """All that the operator demands, one sentence each, in the order in which they are checked."""
        return tuple(map(sentence, self.constraints))

    @abstractmethod
    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        """The output as tflite-runtime 2.14's reference kernel computes it, in numpy.

        Args:
            node: The operator.
            inputs: One array per input, constants included, of the tensors' shapes and dtypes.
        """

    def references(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        """One array per output; operators with several outputs define this."""
        return (self.reference(node, inputs),)

    @abstractmethod
    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        """The operator as C for ``core``."""
