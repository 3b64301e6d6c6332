"""Ends a segment at a tensor, so that what is behind it can be computed elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import onnx

from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import ACTIVATIONS
from multigraft.errors import UsageError

FRONT, BACK = "_front", "_back"


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
            return _split(multitask, segment, names[0])
    have = [name for segment in multitask.segments for name in split_points(multitask, segment)]
    raise UsageError(f"the graph cannot be split at {tensor!r}", f"choose from: {', '.join(have) or 'none'}")


def split_points(multitask: MultiTaskModel, segment: SegmentSpec) -> list[str]:
    """Tensors inside a segment that all its paths pass through, from its inputs on.

    A tensor between a layer and its activation is none: both are computed as one on a device.
    """
    if len(segment.inputs) != 1:
        return []
    nodes = leading_nodes(multitask.model.graph.node, segment.outputs, segment.inputs)
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    live, found = set(segment.inputs), []
    for index, node in enumerate(nodes):
        live |= {name for name in node.output if name}
        live = {n for n in live if n in segment.outputs or last.get(n, -1) > index}
        (only, *others) = live or {""}
        is_point = not others and only in readers and only not in segment.outputs
        if is_point and not any(reader.op_type in ACTIVATIONS for reader in readers[only]):
            found.append(only)
    return found


def _split(multitask: MultiTaskModel, segment: SegmentSpec, tensor: str) -> MultiTaskModel:
    front = SegmentSpec(segment.name + FRONT, segment.inputs, (tensor,))
    back = SegmentSpec(segment.name + BACK, (tensor,), segment.outputs)

    def replaced(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(n for name in names for n in ((front.name, back.name) if name == segment.name else (name,)))

    segments = tuple(s for whole in multitask.segments for s in ((front, back) if whole == segment else (whole,)))
    tasks = tuple(dataclasses.replace(task, segments=replaced(task.segments)) for task in multitask.tasks)
    return dataclasses.replace(multitask, segments=segments, tasks=tasks)
