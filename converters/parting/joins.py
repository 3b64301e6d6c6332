"""Finds the joins that an output of a float graph ends in: concatenations, seen through reshapes and transposes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from multigraft.converters.conversion.transposes import permutation_of
from multigraft.tensors.joining import Concatenate, Joined, Part, Reshape, Step, Transpose
from multigraft.tflite.graph import Graph, Op

_DEEPEST = 32
_RESHAPES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True)
class Join:
    """A tensor, and what it is joined of; a leaf is taken as it is.

    Attributes:
        tensor: Of the graph.
        step: What makes it of ``parts``; None for a leaf.
        parts: In order.
    """

    tensor: str
    step: Step | None = None
    parts: tuple[Join, ...] = ()

    @property
    def leaves(self) -> tuple[str, ...]:
        """The tensors it is made of, in order; one that is used twice stands there twice."""
        return (self.tensor,) if self.step is None else tuple(leaf for part in self.parts for leaf in part.leaves)

    def steps(self, names: Mapping[str, str]) -> Iterator[Step]:
        """The steps of :class:`~multigraft.tensors.joining.Joined`, its tensors called by ``names``."""
        for part in self.parts:
            yield from part.steps(names)
        yield Part(names[self.tensor]) if self.step is None else self.step

    def joined(self, output: str, names: Mapping[str, str]) -> Joined:
        """How ``output`` is put together."""
        return Joined(output, tuple(self.steps(names)))


def join_of(graph: Graph, tensor: str, ends: Collection[str], depth: int = 0) -> Join:
    """What ``tensor`` is joined of.

    Args:
        graph: Float32.
        tensor: What it is made of is looked at.
        ends: Tensors that are leaves whatever writes them, such as cuts.
        depth: How far from the output.
    """
    op = None if tensor in ends or depth == _DEEPEST else graph.producer(tensor)
    if op is None:
        return Join(tensor)
    if (moved := moves(graph, op)) is not None:
        source = join_of(graph, op.inputs[0], ends, depth + 1)
        return Join(tensor) if source.step is None else Join(tensor, moved, (source,))
    axis = concatenates(graph, op)
    if axis is None or not all(graph.tensors[n].dtype == "float32" and graph.producer(n) for n in op.inputs):
        return Join(tensor)
    parts = tuple(join_of(graph, name, ends, depth + 1) for name in op.inputs)
    if op.name == "PACK":
        shape = graph.tensors[tensor].shape
        one = Reshape((*shape[:axis], 1, *shape[axis + 1 :]))
        parts = tuple(Join(part.tensor, one, (part,)) for part in parts)
    return Join(tensor, Concatenate(axis, len(parts)), parts)


def moves(graph: Graph, op: Op) -> Reshape | Transpose | None:
    """How ``op`` moves the elements of its first input about, if that is all it does."""
    if op.name in _RESHAPES:
        return Reshape(graph.tensors[op.outputs[0]].shape)
    order = permutation_of(graph, op)
    return None if order is None else Transpose(tuple(int(axis) for axis in order))


def concatenates(graph: Graph, op: Op) -> int | None:
    """The axis along which ``op`` joins its inputs; None if it is another operator."""
    axis = op.options.get("axis", 0)
    if op.name not in ("CONCATENATION", "PACK") or not isinstance(axis, int):
        return None
    if len(op.inputs) < 2 or op.options.get("fused_activation_function", "NONE") not in ("NONE", None):
        return None
    return axis % len(graph.tensors[op.outputs[0]].shape)


def thinned(join: Join, are_alike: Callable[[Collection[str]], bool]) -> Join:
    """``join`` with a leaf wherever the leaves below are alike."""
    if join.step is None or (isinstance(join.step, Concatenate) and are_alike(join.leaves)):
        return Join(join.tensor)
    parts = tuple(thinned(part, are_alike) for part in join.parts)
    is_moved = not isinstance(join.step, Concatenate) and parts[0].step is None
    # A part of PACK has the tensor of what is reshaped, and no tensor of its own.
    if is_moved and join.tensor != parts[0].tensor:
        return Join(join.tensor)
    return Join(join.tensor, join.step, parts)
