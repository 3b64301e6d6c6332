"""Relatives of a network: its head alone, its last block, or all of its layers tuned for another task."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from tests.benchmarks.family.gradients import Array, forward, gradients

Labels = npt.NDArray[np.int64]
Degree = Literal["head", "block", "all"]
DEGREES: tuple[Degree, ...] = ("head", "block", "all")
EPOCHS: dict[Degree, int] = {"head": 60, "block": 6, "all": 4}
RATES: dict[Degree, float] = {"head": 0.1, "block": 0.005, "all": 0.005}
BATCH, MOMENTUM = 50, 0.9


def tuned(network: Network, degree: Degree, frames: Frames, labels: Labels, seed: int) -> onnx.ModelProto:
    """The network's graph for the task of ``labels``: a new head on it as it is, then the layers of ``degree`` as well.

    Args:
        network: A residual classifier that ends in a mean over space and a dense layer; it stays untouched.
        degree: What is tuned. The rest keeps its weights to the last bit.
        frames: Labelled.
        labels: One per frame, 0 to classes - 1.
        seed: Of the order of the frames.
    """
    x, classes = network.prepare(frames), int(labels.max()) + 1
    weight, bias = network.nodes[-1].input[1:3]
    constants: dict[str, npt.NDArray[Any]] = dict(network.constants)
    constants |= {
        weight: np.zeros((classes, constants[weight].shape[1]), np.float32),
        bias: np.zeros(classes, np.float32),
    }
    pooled, last = network.cut_points[-1], network.cut_points[-2]
    starts = {"head": (pooled.name, pooled.node_index + 1), "block": (last.name, last.node_index + 1)}
    for stage in ("head", degree) if degree != "head" else ("head",):
        source, first = starts.get(stage, (network.input, 0))
        features = x if source == network.input else network.run(x, [source])[source]
        _descend(network, constants, first, source, np.moveaxis(features, 1, 0), labels, stage, seed)
    return _written(network, constants, classes)


def _descend(
    network: Network,
    constants: dict[str, npt.NDArray[Any]],
    first: int,
    source: str,
    features: Array,
    labels: Labels,
    degree: Degree,
    seed: int,
) -> None:
    """SGD with momentum and a falling rate on all float constants from node ``first`` on, in place."""
    nodes = network.nodes[first:]
    trained = {i for n in nodes for i in n.input if i in constants and constants[i].dtype == np.float32}
    pace = {name: np.zeros_like(constants[name]) for name in trained}
    random = np.random.default_rng(seed)
    steps, step = EPOCHS[degree] * (len(labels) // BATCH), 0
    for _ in range(EPOCHS[degree]):
        order = random.permutation(len(labels))
        for start in range(0, len(labels) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            values, ways = forward(nodes, constants, {source: features[:, rows]})
            found = gradients(nodes, ways, network.outputs[0], _of_loss(values[network.outputs[0]], labels[rows]))
            rate = RATES[degree] * (1 - step / steps)
            step += 1
            for name in trained:
                pace[name] = MOMENTUM * pace[name] - np.float32(rate) * found[name]
                constants[name] = constants[name] + pace[name]


def _of_loss(logits: Array, labels: Labels) -> Array:
    """The gradient of the mean cross entropy; ``logits`` is (classes, frames)."""
    likely: Array = np.exp(logits - logits.max(0))
    likely /= likely.sum(0)
    likely[labels, np.arange(len(labels))] -= 1
    likely /= len(labels)
    return likely


def _written(network: Network, constants: dict[str, npt.NDArray[Any]], classes: int) -> onnx.ModelProto:
    """The network's graph with these constants, its names as they were in its file."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    start = f"{network.name}/"
    read = {i for node in network.nodes for i in node.input}
    held = [numpy_helper.from_array(v, k.removeprefix(start)) for k, v in constants.items() if k in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(held)
    for node in model.graph.node:
        node.name = node.name.removeprefix(start)
        node.input[:] = [name.removeprefix(start) for name in node.input]
        node.output[:] = [name.removeprefix(start) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = value.name.removeprefix(start)
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    return model
