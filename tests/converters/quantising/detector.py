"""A small detector in code: a body of SiLUs whose first layers reach far, and boxes as means of distributions."""

from __future__ import annotations

import numpy as np

from multigraft.answers.geometry.overlap import iou_matrix
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.quantising.layer_error import real, stored
from multigraft.tensors.arrays import Float32Array
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, run, with_constant

SIDE, STRIDE, BINS = 64, 8, 16
CELLS = SIDE // STRIDE


def detector(seed: int = 0) -> Graph:
    """Reads ``image`` (1, 64, 64, 3); answers ``boxes`` (1, 64, 4), corners in pixels, and ``scores`` (1, 64, 3)."""
    b = GraphBuilder(seed)
    x = b.input("image", 1, SIDE, SIDE, 3)
    for number, channels in enumerate((8, 16, 32, 32)):
        x = _silu(b, f"layer{number}", x, channels, 2 if number < 3 else 1)
    cells = CELLS * CELLS
    edges = b.conv("edges", _silu(b, "edge", x, 32), 4 * BINS, kernel=1)
    bins = b.reshape("bins", edges, 1, cells, 4, BINS)
    likely = b.op("SOFTMAX", "likely", [bins], (1, cells, 4, BINS), beta=1.0)
    distances = b.reshape("distances", b.conv("means", likely, 1, kernel=1), 1, cells, 4)
    place = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(1, cells, 2) + 0.5
    centres = b.constant("centres", np.concatenate([place, place], -1))
    signed = b.op("MUL", "signed", [distances, b.constant("signs", [-0.5, -0.5, 0.5, 0.5])], (1, cells, 4))
    corners = b.op("ADD", "corners", [signed, centres], (1, cells, 4))
    boxes = b.op("MUL", "boxes", [corners, b.constant("stride", [float(STRIDE)])], (1, cells, 4))
    logits = b.reshape("logits", b.conv("classes", _silu(b, "class", x, 32), 3, kernel=1), 1, cells, 3)
    scores = b.op("LOGISTIC", "scores", [logits], (1, cells, 3))
    graph = with_constant(b.graph(boxes, scores), "means/weights", np.arange(BINS))
    for name, factor in (("means/bias", 0.0), ("layer0/conv/weights", 8.0), ("edges/weights", 0.7)):
        value = graph.constant(name)
        assert value is not None
        graph = with_constant(graph, name, value * factor)
    return graph


def _silu(b: GraphBuilder, name: str, x: str, channels: int, stride: int = 1) -> str:
    y = b.conv(f"{name}/conv", x, channels, stride=stride)
    gate = b.op("LOGISTIC", f"{name}/gate", [y], b.tensors[y].shape)
    return b.op("MUL", name, [y, gate], b.tensors[y].shape)


def overlaps(floating: Graph, graph: Graph, feeds: list[Arrays]) -> Float32Array:
    """Per frame the IoU of the surest box of the float network with that of the same cell of ``graph``."""
    found = []
    for feed in feeds:
        truth, values = run(floating, feed), run(graph, stored(feed, graph))
        cell = int(truth["scores"][0].max(1).argmax())
        boxes = real(values["boxes"], graph.tensors["boxes"])[0]
        found.append(iou_matrix(truth["boxes"][0][cell : cell + 1], boxes[cell : cell + 1])[0, 0])
    return np.array(found, np.float32)
