"""Where a task of a joined graph could exit: tensors that every path of one of its segments passes through."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.bundle.manifest import Task
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import LINEAR, node_macs, node_weights
from multigraft.converters.network.splitting import lone_tensors

LEAST_SAVED = 0.05
"""Share of the task's MACs that has to lie behind an exit."""


@dataclass(frozen=True)
class Place:
    """A tensor behind which a task could exit.

    Attributes:
        segment: The segment that writes it.
        tensor: ONNX name.
        shape: Without the batch: (channels, height, width) or (features,).
        macs: Multiply-accumulates of the task per frame up to and including it.
        ends_segment: It is an output of the segment already, which need not be split.
    """

    segment: str
    tensor: str
    shape: tuple[int, ...]
    macs: int
    ends_segment: bool


class Places:
    """The places of a joined graph.

    Args:
        multitask: The graph and its segments; batch 1.
    """

    def __init__(self, multitask: MultiTaskModel) -> None:
        self._multitask = multitask
        graph = multitask.model.graph
        self._nodes = list(graph.node)
        self._constants: dict[str, npt.NDArray[Any]] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes without the batch, of tensors that have one of 1."""
        inferred = onnx.shape_inference.infer_shapes(self._multitask.model, data_prop=True).graph
        known = {}
        for value in [*inferred.input, *inferred.value_info, *inferred.output]:
            shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            if shape[:1] == (1,) and all(shape):
                known[value.name] = shape[1:]
        return known

    def task_macs(self, task: Task) -> int:
        """Multiply-accumulates of all segments of a task."""
        chosen = (s for s in self._multitask.segments if s.name in task.segments)
        return sum(self._macs(node) for s in chosen for node in leading_nodes(self._nodes, s.outputs, s.inputs))

    def of(self, task: Task) -> list[Place]:
        """In running order, one for each stretch that holds at least one linear layer."""
        total, done, found = self.task_macs(task), 0, []
        for segment in (s for s in self._multitask.segments if s.name in task.segments):
            nodes = leading_nodes(self._nodes, segment.outputs, segment.inputs)
            for tensor, macs in self._within(segment, nodes):
                shape = self.shapes.get(tensor)
                if shape is not None and len(shape) in (1, 3) and tensor not in task.outputs:
                    found.append(Place(segment.name, tensor, shape, done + macs, tensor in segment.outputs))
            done += sum(map(self._macs, nodes))
        return [place for place in found if total - place.macs >= LEAST_SAVED * total]

    def logits_of(self, task: Task) -> str:
        """The tensor with the logits of a classification: what its softmax reads, or else its output."""
        writers = {o: node for node in self._nodes for o in node.output}
        writer = writers.get(task.outputs[0])
        while writer is not None and writer.op_type in ("Identity", "Flatten", "Reshape", "Squeeze"):
            writer = writers.get(writer.input[0])
        return writer.input[0] if writer is not None and writer.op_type == "Softmax" else task.outputs[0]

    def _macs(self, node: onnx.NodeProto) -> int:
        if any(name not in self.shapes for name in (node.input[0], node.output[0])):
            return 0
        return node_macs(node, self._constants, self.shapes)

    def _within(self, segment: SegmentSpec, nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[str, int]]:
        """(tensor, MACs of the segment up to it) of those that alone are alive behind their node."""
        alone, macs = dict(lone_tensors(nodes, segment)), 0
        candidate: tuple[str, int] | None = None
        for index, node in enumerate(nodes):
            if node.op_type in LINEAR and node_weights(node, self._constants) > 0 and candidate is not None:
                yield candidate
                candidate = None
            macs += self._macs(node)
            if macs and index in alone:
                candidate = alone[index], macs
        if candidate is not None and candidate[0] in segment.outputs:
            yield candidate
