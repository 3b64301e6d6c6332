"""IF as a choice between the values of both branches, which have no side effects in the networks that are taken."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

from multigraft.errors import UnsupportedOperatorError
from multigraft.tflite.graph import Graph, Model, Op, Tensor

_MOST_OPERATORS = 1 << 14


def written_out(model: Model, where: str) -> Graph:
    """The first subgraph with the branches of its IFs in it.

    Raises:
        UnsupportedOperatorError: They call each other, or are too many.
    """
    return _Inliner(model, where).graph()


class _Inliner:
    def __init__(self, model: Model, where: str) -> None:
        self.model = model
        self.where = where
        self.tensors: dict[str, Tensor] = dict(model.main.tensors)
        self.ops: list[Op] = []

    def graph(self) -> Graph:
        self.add(self.model.main, {}, (0,))
        return dataclasses.replace(self.model.main, ops=tuple(self.ops), tensors=self.tensors)

    def add(self, graph: Graph, names: dict[str, str], path: tuple[int, ...]) -> None:
        """Append the operators of a subgraph; ``names`` maps its tensors to those here."""
        for op in graph.ops:
            inputs = tuple(names.get(n, n) for n in op.inputs)
            outputs = tuple(names.get(n, n) for n in op.outputs)
            renamed = dataclasses.replace(op, inputs=inputs, outputs=outputs)
            if op.name == "IF":
                self.choose(renamed, path)
            else:
                self.ops.append(renamed)
            if len(self.ops) > _MOST_OPERATORS:
                self.fail(op)

    def choose(self, op: Op, path: tuple[int, ...]) -> None:
        condition, *given = op.inputs
        sides = []
        for option in ("then_subgraph_index", "else_subgraph_index"):
            number = op.options.get(option, 0)
            if not isinstance(number, int) or not 0 < number < len(self.model.subgraphs) or number in path:
                self.fail(op)
            sides.append(self.branch(self.model.subgraphs[number], given, (*path, number), op))
        for output, then, otherwise in zip(op.outputs, *sides, strict=True):
            if {self.tensors[then].shape, self.tensors[otherwise].shape} != {self.tensors[output].shape}:
                self.fail(op)
            self.ops.append(Op("SELECT_V2", (condition, then, otherwise), (output,)))

    def branch(self, graph: Graph, given: list[str], path: tuple[int, ...], op: Op) -> list[str]:
        """Append a branch; returns the names of its outputs."""
        if len(graph.inputs) != len(given) or len(graph.outputs) != len(op.outputs):
            self.fail(op)
        names = dict(zip(graph.inputs, given, strict=True))
        for name, tensor in graph.tensors.items():
            if name not in names:
                names[name] = f"{op.outputs[0]}/branch_{'_'.join(map(str, path))}/{name}"
                self.tensors[names[name]] = dataclasses.replace(tensor, name=names[name])
        self.add(graph, names, path)
        return [names[n] for n in graph.outputs]

    def fail(self, op: Op) -> NoReturn:
        raise UnsupportedOperatorError(
            f"{self.where}: IF {op.outputs[0]!r} cannot be written out", "convert the network with fixed control flow"
        )
