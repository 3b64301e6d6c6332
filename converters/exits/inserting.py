"""Puts exits into a joined graph: segments are split where they leave, and every head becomes one of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.bundle.manifest import Task
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.places import constants_of, split_at
from multigraft.converters.exits.planning import Planned
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec


@dataclasses.dataclass(frozen=True)
class Inserted:
    """An exit of the joined graph.

    Attributes:
        task: Whose.
        segment: Which computes it.
        output: Its logits.
        planned: What it was made of.
    """

    task: str
    segment: str
    output: str
    planned: Planned


def with_exits(
    multitask: MultiTaskModel, task: str, exits: Sequence[Planned]
) -> tuple[MultiTaskModel, tuple[Inserted, ...]]:
    """The graph with the exits of one task, in running order."""
    segments = list(multitask.segments)
    inserted: list[Inserted] = []
    model = onnx.ModelProto()
    model.CopyFrom(multitask.model)
    needed = {t.name: list(t.segments) for t in multitask.tasks}
    for number, planned in enumerate(exits, 1):
        # An earlier exit may have split the segment: the place lies in the part that was told last.
        place = dataclasses.replace(planned.place, segment=_holder(segments, planned, inserted))
        segments, second = split_at(segments, place)
        if second:
            for names in needed.values():
                if place.segment in names:
                    names.insert(names.index(place.segment) + 1, second)
        output = _free(f"{task}/exit_{number}", {t for node in model.graph.node for t in (*node.input, *node.output)})
        name = f"exit_{task}" if len(exits) == 1 else f"exit_{task}_{number}"
        name = _free(name, {s.name for s in segments})
        position = next(i for i, s in enumerate(segments) if s.name == place.segment)
        segments.insert(position + 1, SegmentSpec(name, (place.tensor,), (output,)))
        nodes, constants = _nodes(place.tensor, place.shape, output, planned.head)
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants_of(constants))
        inserted.append(Inserted(task, name, output, planned))
    tasks: tuple[Task, ...] = tuple(dataclasses.replace(t, segments=tuple(needed[t.name])) for t in multitask.tasks)
    early = (*multitask.early, *(one.output for one in inserted))
    whole = dataclasses.replace(multitask, model=model, segments=tuple(segments), tasks=tasks, early=early)
    return whole, tuple(inserted)


def without_exits(multitask: MultiTaskModel, inserted: Sequence[Inserted]) -> MultiTaskModel:
    """The graph without the segments of these exits; where they left, their tasks stay split."""
    names = {one.segment for one in inserted}
    outputs = {one.output for one in inserted}
    return dataclasses.replace(
        multitask,
        segments=tuple(s for s in multitask.segments if s.name not in names),
        early=tuple(name for name in multitask.early if name not in outputs),
    )


def _free(name: str, taken: Collection[str]) -> str:
    """A name that neither a network with an output "exit_1" nor a task "a_1" beside "a" has taken."""
    while any(one == name or one.startswith(f"{name}/") for one in taken):
        name += "_"
    return name


def _holder(segments: Sequence[SegmentSpec], planned: Planned, inserted: Sequence[Inserted]) -> str:
    place = planned.place
    before = [one.planned.place for one in inserted if one.planned.place.segment == place.segment]
    if not before or before[-1].ends_segment:
        return place.segment
    return next(s.name for s in segments if s.inputs == (before[-1].tensor,) and not s.name.startswith("exit_"))


def _nodes(
    tensor: str, shape: tuple[int, ...], output: str, head: Head
) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Average, flatten, multiply."""
    make = onnx.helper.make_node
    nodes, features = [], tensor
    if head.grid:
        kernel = [shape[1] // head.grid, shape[2] // head.grid]
        pool = (
            make("GlobalAveragePool", [tensor], [f"{output}/pool"])
            if head.grid == 1
            else make("AveragePool", [tensor], [f"{output}/pool"], kernel_shape=kernel, strides=kernel)
        )
        nodes = [pool, make("Flatten", [f"{output}/pool"], [f"{output}/features"], axis=1)]
        features = f"{output}/features"
    nodes.append(make("Gemm", [features, f"{output}/weight", f"{output}/bias"], [output], transB=1))
    for node in nodes:
        node.name = node.output[0]
    weight = np.ascontiguousarray(head.weight.T)
    return nodes, {f"{output}/weight": weight, f"{output}/bias": head.bias}
