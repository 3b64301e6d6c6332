"""The strategy: random ONNX graphs of one image input with branches, joins and several outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from multigraft.tensors.preprocessing import Preprocessing
from tests.fuzz.families import elementwise, indexing, layout, linear, reductions, unknown, windows
from tests.fuzz.sketch import Sketch, session_of

OLDEST, NEWEST = 7, 23
"""Operator sets that are drawn."""

KINDS: dict[str, Callable[[Sketch], list[str]]] = {
    **elementwise.KINDS, **windows.KINDS, **reductions.KINDS, **layout.KINDS, **indexing.KINDS, **linear.KINDS,
}  # fmt: skip
_IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 15: 8, 19: 9}


@dataclass(frozen=True)
class Graph:
    """What is tried.

    Attributes:
        model: As an exporter would write it.
        preprocessing: Of its image input.
    """

    model: onnx.ModelProto
    preprocessing: Preprocessing


@st.composite
def graphs(draw: Any) -> Graph:
    """1 to 8 drawn nodes (some bring others along), whose ends are outputs."""
    opset = draw(st.integers(OLDEST, NEWEST))
    ir_version = draw(st.sampled_from((3, 8))) if opset < 15 else draw(st.sampled_from((8, 9, 10)))
    channels, height, width = draw(st.sampled_from((1, 3))), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    is_last = draw(st.integers(1, 8)) == 8 and height not in (1, 3)
    preprocessing = Preprocessing(
        height, width, "grey" if channels == 1 else "rgb", (127.5,) * channels, (1 / 64,) * channels
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1, channels, height, width))
    probe = ((pixels - 127.5) / 64).astype(np.float32)
    s = Sketch(draw, opset, ir_version, probe.transpose(0, 2, 3, 1).copy() if is_last else probe)
    if s.yes(3):
        _start(s)
    wanted = s.whole(1, 8)
    names = list(KINDS)
    for _ in range(2 * wanted):
        if len(s.nodes) >= wanted:
            break
        kind = unknown.unknown if s.yes(80) else KINDS[s.pick(names)]
        kind(s)
    if not s.nodes:
        s.add("Relu", "x")
    read = {n for node in s.nodes for n in node.input}
    ends = [n for n in s.values if n not in read and n != "x"]
    floats = [n for n in ends if s.values[n].dtype.kind == "f"]
    ends = ends if s.yes(8) or not floats else floats
    inner = [n for n, v in s.values.items() if n in read and n != "x" and v.dtype.kind == "f"]
    if inner and s.yes(6):
        ends.append(s.pick(inner))
    as_nodes = [n for n in s.constants if s.yes(4)] if s.yes() else []
    model = s.model(list(reversed(ends)) if s.yes(4) else ends, as_nodes)
    return Graph(_pruned(model), preprocessing)


def _start(s: Sketch) -> None:
    """Another number of channels or rank than a picture has."""
    if s.yes():
        wide = s.constant(s.floats((s.whole(1, 6), s.shape("x")[1], 1, 1)))
        s.add("Conv", "x", wide, kernel_shape=[1, 1])
    else:
        size = int(np.prod(s.shape("x")))
        s.add("Reshape", "x", s.ints([1, *layout.factors(s, size, s.whole(1, 4))]))


def _pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without nodes and constants that no output needs."""
    graph = model.graph
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
    for field in (graph.initializer, graph.input):
        items = [type(i).FromString(i.SerializeToString()) for i in field if i.name in needed or i.name == "x"]
        del field[:]
        field.extend(items)
    return model


def answers(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    """What onnxruntime gives for the original."""
    found: list[Any] = session_of(model).run(None, feed)
    return found
