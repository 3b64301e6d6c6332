"""Puts exits into a joined graph: segments are split where they leave, and every head becomes one of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.planning import Planned
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.splitting import rejoined, split_segment


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
    inserted: list[Inserted] = []
    model = onnx.ModelProto()
    model.CopyFrom(multitask.model)
    # Of segments that earlier exits have split.
    last_part: dict[str, str] = {}
    for number, planned in enumerate(exits, 1):
        place = planned.place
        front = last_part.get(place.segment, place.segment)
        if not place.ends_segment:
            multitask, last_part[place.segment] = split_segment(multitask, front, place.tensor)
        kind = "gate" if planned.is_gate else "exit"
        output = _free(f"{task}/{kind}_{number}", {t for node in model.graph.node for t in (*node.input, *node.output)})
        segments = list(multitask.segments)
        name = f"{kind}_{task}" if len(exits) == 1 else f"{kind}_{task}_{number}"
        name = _free(name, {s.name for s in segments})
        position = next(i for i, s in enumerate(segments) if s.name == front)
        segments.insert(position + 1, SegmentSpec(name, (place.tensor,), (output,)))
        multitask = dataclasses.replace(multitask, segments=tuple(segments), early=(*multitask.early, output))
        nodes, constants = _nodes(place.tensor, place.shape, output, planned.head)
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)
        inserted.append(Inserted(task, name, output, planned))
    return dataclasses.replace(multitask, model=model), tuple(inserted)


def without_exits(multitask: MultiTaskModel, inserted: Sequence[Inserted]) -> MultiTaskModel:
    """The graph without the segments of these exits; what was split for them alone is whole again."""
    names = {one.segment for one in inserted}
    outputs = {one.output for one in inserted}
    fewer = dataclasses.replace(
        multitask,
        segments=tuple(s for s in multitask.segments if s.name not in names),
        early=tuple(name for name in multitask.early if name not in outputs),
    )
    for place in (one.planned.place for one in inserted):
        fewer = fewer if place.ends_segment else rejoined(fewer, place.tensor)
    return fewer


def _free(name: str, taken: Collection[str]) -> str:
    """A name that neither a network with an output "exit_1" nor a task "a_1" beside "a" has taken."""
    while any(one == name or one.startswith(f"{name}/") for one in taken):
        name += "_"
    return name


def _nodes(
    tensor: str, shape: tuple[int, ...], output: str, head: Head
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
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
    weight = numpy_helper.from_array(np.ascontiguousarray(head.weight.T), f"{output}/weight")
    return nodes, [weight, numpy_helper.from_array(head.bias, f"{output}/bias")]
