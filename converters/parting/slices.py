"""Takes slices above joins: what is cut out of a join is joined of cuts, and a whole part is that part.

A detector joins the maps of boxes and of scores of every size, joins the sizes, and cuts boxes and scores apart again.
In 8 bits each join gives both one scale. Without it each has its own, and the values are the same to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from multigraft.converters.conversion.rewriting import free_name, int32, prune, replace_op
from multigraft.converters.parting.axes import axis_before
from multigraft.converters.parting.joins import concatenates, moves
from multigraft.tensors.joining import Transpose
from multigraft.tflite.graph import Graph, Op, Tensor

_DEEPEST = 16
_MOST = 256
"""Slices that are taken above joins at most."""


@dataclass(frozen=True)
class _Cut:
    """Elements ``begin`` to ``end`` of a tensor along an axis."""

    tensor: str
    axis: int
    begin: int
    end: int


def slices_above_joins(graph: Graph, output: str, ends: Collection[str]) -> Graph:
    """``graph`` with every slice that ``output`` depends on above the joins that it undoes.

    Args:
        graph: Float32.
        output: One of its outputs.
        ends: Tensors, such as cuts, behind which nothing is looked at.
    """
    for _ in range(_MOST):
        changed = _first_raised(graph, output, ends)
        if changed is None:
            break
        graph = changed
    return graph


def _first_raised(graph: Graph, output: str, ends: Collection[str]) -> Graph | None:
    needed = {output}
    for op in reversed(graph.ops):
        if needed.isdisjoint(op.outputs):
            continue
        needed.update(name for name in op.inputs if name not in ends)
        cuts = _cuts(graph, op)
        if cuts is None:
            continue
        writing = _Writing(graph, ends)
        names = [name for cut in cuts if (name := writing.cut(cut, 0)) is not None]
        if len(names) == len(cuts):
            return writing.instead_of(op, names)
    return None


def _cuts(graph: Graph, op: Op) -> list[_Cut] | None:
    """What each output of a slice along one axis is; None for anything else."""
    if op.name == "SLICE":
        begin, size = graph.constant(op.inputs[1]), graph.constant(op.inputs[2])
        if begin is None or size is None:
            return None
        source, result = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
        axes = [axis for axis, (a, b) in enumerate(zip(source, result, strict=True)) if a != b]
        first = [int(value) for value in begin.reshape(-1)]
        return [_Cut(op.inputs[0], a, first[a], first[a] + result[a]) for a in axes] if len(axes) == 1 else None
    if op.name == "STRIDED_SLICE":
        return _of_strided(graph, op)
    place, number = {"SPLIT": (1, 0), "SPLIT_V": (0, 2)}.get(op.name, (0, 0))
    axis = graph.constant(op.inputs[number]) if op.name in ("SPLIT", "SPLIT_V") else None
    if axis is None:
        return None
    source = graph.tensors[op.inputs[place]].shape
    along = int(axis.reshape(-1)[0]) % len(source)
    cuts, begin_at = [], 0
    for output in op.outputs:
        end = begin_at + graph.tensors[output].shape[along]
        cuts.append(_Cut(op.inputs[place], along, begin_at, end))
        begin_at = end
    return cuts


def _of_strided(graph: Graph, op: Op) -> list[_Cut] | None:
    """A strided slice of step 1 that keeps all axes, by what it begins with and how much is left."""
    begin, steps = graph.constant(op.inputs[1]), graph.constant(op.inputs[3])
    source, result = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    masks = ("shrink_axis_mask", "new_axis_mask", "ellipsis_mask", "offset")
    if begin is None or steps is None or (steps != 1).any() or any(op.options.get(mask) for mask in masks):
        return None
    if len(source) != len(result) or begin.size != len(source):
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(source, result, strict=True)) if a != b]
    if len(axes) != 1:
        return None
    axis, mask = axes[0], op.options.get("begin_mask", 0)
    first = 0 if isinstance(mask, int) and mask >> axis & 1 else int(begin.reshape(-1)[axis])
    first += source[axis] if first < 0 else 0
    return [_Cut(op.inputs[0], axis, first, first + result[axis])]


@dataclass
class _Writing:
    """Operators that make cuts without the joins."""

    graph: Graph
    ends: Collection[str]
    ops: list[Op] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    def cut(self, cut: _Cut, depth: int) -> str | None:
        """The tensor that is the cut; None where it can only be cut out of a join."""
        shape = self.graph.tensors[cut.tensor].shape
        if (cut.begin, cut.end) == (0, shape[cut.axis]):
            return cut.tensor
        op = None if cut.tensor in self.ends or depth == _DEEPEST else self.graph.producer(cut.tensor)
        if op is None:
            return None
        axis = concatenates(self.graph, op)
        if axis is not None and op.name == "CONCATENATION":
            return self._of_join(op, axis, cut, depth)
        moved = moves(self.graph, op)
        source = self.graph.tensors[op.inputs[0]].shape
        before = None if moved is None else axis_before(moved, source, cut.axis)
        if moved is None or before is None:
            return None
        name = self.cut(_Cut(op.inputs[0], before, cut.begin, cut.end), depth + 1)
        if name is None:
            return None
        made = (*shape[: cut.axis], cut.end - cut.begin, *shape[cut.axis + 1 :])
        if isinstance(moved, Transpose):
            return self._write("TRANSPOSE", (name, op.inputs[1]), made, op)
        target = int32(free_name(self._names(), f"{cut.tensor}/shape"), made)
        self.tensors.append(target)
        return self._write("RESHAPE", (name, target.name), made, dataclasses.replace(op, options={"new_shape": made}))

    def instead_of(self, op: Op, names: Sequence[str]) -> Graph:
        """The graph whose operators read ``names`` instead of what ``op`` writes."""
        kept, made = {*self.graph.outputs, *self.ends}, {t.name for t in self.tensors}
        called = {name: output for name, output in zip(names, op.outputs, strict=True) if name in made}
        instead = {output: name for name, output in zip(names, op.outputs, strict=True) if called.get(name) != output}
        tensors, copies = list(self.tensors), []
        for output, name in instead.items():
            if output in kept:
                shape = self.graph.tensors[output].shape
                tensors.append(int32(free_name(self._names(), f"{output}/shape"), shape))
                copy = Op("RESHAPE", (called.get(name, name), tensors[-1].name), (output,), {"new_shape": shape})
                copies.append(copy)
        read = called | {o: called.get(name, name) for o, name in instead.items() if o not in kept}
        graph = replace_op(self.graph, op, [*self.ops, *copies], tensors)

        def renamed(old: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(read.get(n, n) for n in old)

        ops = (dataclasses.replace(o, inputs=renamed(o.inputs), outputs=renamed(o.outputs)) for o in graph.ops)
        return prune(dataclasses.replace(graph, ops=tuple(ops)))

    def _of_join(self, op: Op, axis: int, cut: _Cut, depth: int) -> str | None:
        names, at = [], 0
        for part in op.inputs:
            size = self.graph.tensors[part].shape[axis]
            if axis != cut.axis:
                names.append(self.cut(_Cut(part, cut.axis, cut.begin, cut.end), depth + 1))
            elif at < cut.end and cut.begin < at + size:
                names.append(self.cut(_Cut(part, axis, max(cut.begin - at, 0), min(cut.end - at, size)), depth + 1))
            at += size
        if None in names:
            return None
        parts = [name for name in names if name is not None]
        if len(parts) == 1:
            return parts[0]
        shape = self.graph.tensors[cut.tensor].shape
        made = (*shape[: cut.axis], cut.end - cut.begin, *shape[cut.axis + 1 :])
        return self._write("CONCATENATION", tuple(parts), made, op)

    def _write(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], like: Op) -> str:
        result = Tensor(free_name(self._names(), f"{like.outputs[0]}/cut"), shape)
        self.tensors.append(result)
        is_same = kind == like.name
        options, version = (like.options, like.version) if is_same else ({"new_shape": shape}, 1)
        self.ops.append(Op(kind, inputs, (result.name,), options, version))
        return result.name

    def _names(self) -> Graph:
        return dataclasses.replace(self.graph, tensors={**self.graph.tensors, **{t.name: t for t in self.tensors}})
