"""Operators that multiply by constant weights, seen alike: their input, weights, bias, and where the channels lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, Tensor

_PLACES = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
"""Operator to the indices of input, weights and bias among its inputs, and the weights' axis of output channels."""


@dataclass(frozen=True)
class LinearOperator:
    """One such operator.

    Attributes:
        op: As it stands in the graph.
        source: The tensor it reads.
        weights: Name of its weights.
        bias: Name of its bias; empty if it has none.
        axis: Axis of the output channels in the weights.
    """

    op: Op
    source: str
    weights: str
    bias: str
    axis: int

    @property
    def result(self) -> str:
        """The tensor it writes."""
        return self.op.outputs[0]

    def rows(self, graph: Graph) -> npt.NDArray[np.float64]:
        """Its weights as output channels x the rest."""
        return channel_rows(constant(graph, self.weights), self.axis)

    def bias_values(self, graph: Graph) -> npt.NDArray[np.float64]:
        """Its bias, one per output channel; zeros if it has none."""
        channels = graph.tensors[self.weights].shape[self.axis]
        if not self.bias:
            return np.zeros(channels)
        return np.broadcast_to(constant(graph, self.bias).astype(np.float64).reshape(-1), (channels,))


def linear_operator(graph: Graph, op: Op) -> LinearOperator | None:
    """``op`` if it multiplies by constant weights and adds a constant bias or none, else None."""
    places = _PLACES.get(op.name)
    if places is None:
        return None
    source, weights, bias, axis = places
    name = op.inputs[bias] if bias < len(op.inputs) else ""
    if graph.constant(op.inputs[weights]) is None or (name and graph.constant(name) is None):
        return None
    return LinearOperator(op, op.inputs[source], op.inputs[weights], name, axis)


def linear_operators(graph: Graph) -> list[LinearOperator]:
    """All of them, in running order."""
    return [linear for op in graph.ops if (linear := linear_operator(graph, op)) is not None]


def constant(graph: Graph, name: str) -> Array:
    """The value of a tensor that is known to be a constant."""
    value = graph.constant(name)
    assert value is not None
    return value


def channel_rows(weights: Array, axis: int) -> npt.NDArray[np.float64]:
    """``weights`` with the channels of ``axis`` as rows."""
    rows = np.moveaxis(weights, axis, 0)
    return np.asarray(rows.reshape(rows.shape[0], -1), np.float64)


def along(values: npt.NDArray[np.float64], axis: int, rank: int) -> npt.NDArray[np.float64]:
    """A vector shaped so that it multiplies the channels of ``axis`` of an array of ``rank``."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def with_constants(graph: Graph, op: Op, changed: Iterable[tuple[int, Tensor]]) -> tuple[Graph, Op]:
    """``graph`` in which ``op`` reads other constants; those that others read, too, are left to them under their name.

    Args:
        graph: Any.
        op: An operator of it.
        changed: Index among the inputs, and what shall be read there, named as before.
    """
    tensors, inputs = dict(graph.tensors), list(op.inputs)
    for index, tensor in changed:
        name, number = tensor.name, 1
        is_shared = sum(name in o.inputs for o in graph.ops) > 1 or name in graph.outputs
        while is_shared and name in tensors:
            name, number = f"{tensor.name}/own{number}", number + 1
        tensors[name] = dataclasses.replace(tensor, name=name)
        inputs[index] = name
    new = dataclasses.replace(op, inputs=tuple(inputs))
    return dataclasses.replace(graph, ops=tuple(new if o is op else o for o in graph.ops), tensors=tensors), new
