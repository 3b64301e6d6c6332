"""Ends a segment at a tensor, so that a task can leave there, or what is behind it be computed elsewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import onnx

from multigraft.converters.network.alive import alive_behind
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import ACTIVATIONS
from multigraft.errors import UsageError


def split_at(multitask: MultiTaskModel, tensor: str) -> MultiTaskModel:
    """The same tasks, with a boundary more.

    Args:
        multitask: The graph and its segments.
        tensor: One that all paths of its segment pass through; its name as in the file, or with its task's before it.

    Raises:
        UsageError: It is none; the message lists those there are.
    """
    for segment in multitask.segments:
        points = split_points(multitask, segment)
        names = [name for name in points if tensor in (name, name.partition("/")[2])]
        if names:
            return split_segment(multitask, segment.name, names[0])[0]
    have = [name for segment in multitask.segments for name in split_points(multitask, segment)]
    raise UsageError(f"the graph cannot be split at {tensor!r}", f"choose from: {', '.join(have) or 'none'}")


def with_boundary(multitask: MultiTaskModel, tensor: str) -> MultiTaskModel:
    """The same tasks, with a boundary at a tensor: as they are where there is one.

    Raises:
        UsageError: As :func:`split_at`.
    """
    has_one = tensor in multitask.inputs or any(tensor in segment.outputs for segment in multitask.segments)
    return multitask if has_one else split_at(multitask, tensor)


def split_points(multitask: MultiTaskModel, segment: SegmentSpec) -> list[str]:
    """Tensors inside a segment that all its paths pass through, from its inputs on."""
    if len(segment.inputs) != 1:
        return []
    nodes = leading_nodes(multitask.model.graph.node, segment.outputs, segment.inputs)
    read = {name for node in nodes for name in node.input}
    return [name for _, name in lone_tensors(nodes, segment) if name in read and name not in segment.outputs]


def lone_tensors(nodes: Sequence[onnx.NodeProto], segment: SegmentSpec) -> Iterator[tuple[int, str]]:
    """(index of the node, tensor) where that alone is alive behind the node.

    A tensor between a layer and its activation is none: both are computed as one on a device.

    Args:
        nodes: Of the segment, in running order.
        segment: It.
    """
    activated = {name for node in nodes if node.op_type in ACTIVATIONS for name in node.input}
    for index, alive in enumerate(alive_behind(nodes, segment.inputs, segment.outputs)):
        if len(alive) == 1 and activated.isdisjoint(alive):
            yield index, alive[0]


def split_segment(multitask: MultiTaskModel, name: str, tensor: str) -> tuple[MultiTaskModel, str]:
    """The same with one segment in two, and the name of the second part; the first keeps its own.

    Args:
        multitask: The graph and its segments.
        name: Of one of them.
        tensor: All of its paths pass through it.
    """
    names, number = {s.name for s in multitask.segments}, 2
    stem = re.sub(r"_\d+$", "", name)
    stem = stem if stem in names else name
    while f"{stem}_{number}" in names:
        number += 1
    whole = next(s for s in multitask.segments if s.name == name)
    parts = SegmentSpec(name, whole.inputs, (tensor,)), SegmentSpec(f"{stem}_{number}", (tensor,), whole.outputs)
    return _with(multitask, {name: parts}), parts[1].name


def rejoined(multitask: MultiTaskModel, tensor: str) -> MultiTaskModel:
    """The same with two segments as one where a segment was split at ``tensor``, unless another one reads it, too."""
    front = [s for s in multitask.segments if s.outputs == (tensor,)]
    back = [s for s in multitask.segments if tensor in s.inputs]
    if len(front) != 1 or len(back) != 1 or back[0].inputs != (tensor,):
        return multitask
    whole = SegmentSpec(front[0].name, front[0].inputs, back[0].outputs)
    return _with(multitask, {front[0].name: (whole,), back[0].name: ()})


def _with(multitask: MultiTaskModel, changed: dict[str, tuple[SegmentSpec, ...]]) -> MultiTaskModel:
    """With other segments in the place of some, by their names."""

    def named(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(s for name in names for s in ([p.name for p in changed[name]] if name in changed else [name]))

    segments = tuple(part for s in multitask.segments for part in changed.get(s.name, (s,)))
    tasks = tuple(dataclasses.replace(task, segments=named(task.segments)) for task in multitask.tasks)
    return dataclasses.replace(multitask, segments=segments, tasks=tasks)
