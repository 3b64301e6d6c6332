"""Cuts one graph into segments: one subgraph and one signature each, in one file that holds every weight once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from multigraft.converters.network.multitask import SegmentSpec
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph, Model, Signature


def cut_into_segments(
    graph: Graph, segments: Sequence[SegmentSpec], boundaries: Mapping[str, str]
) -> tuple[Model, list[SegmentSpec]]:
    """Cut ``graph`` at the boundaries of ``segments``.

    A segment holds every operator between its inputs and its outputs; one that several segments need (the converter may
    have merged equal paddings of two heads) is in each of them.

    Args:
        graph: The whole graph, quantised.
        segments: By boundary names, in an order in which they can run.
        boundaries: Boundary name to tensor of ``graph``; graph inputs stand for themselves.

    Returns:
        The model, whose signatures are named as the segments and their arguments as the boundaries, and the segments
        without inputs that they turned out not to read.

    Raises:
        ConversionError: A segment needs something that is not behind its inputs.
    """
    tensors = {**{n: n for n in graph.inputs}, **boundaries}
    subgraphs, signatures, used = [], [], []
    for number, segment in enumerate(segments):
        for name in (*segment.inputs, *segment.outputs):
            if tensors.get(name) not in graph.tensors:
                raise ConversionError(f"segment {segment.name!r} names tensor {name!r}, which is not in the graph")
        piece = _between(graph, segment, [tensors[n] for n in segment.inputs], [tensors[n] for n in segment.outputs])
        read = tuple(n for n in segment.inputs if tensors[n] in piece.inputs)
        inputs, outputs = {n: tensors[n] for n in read}, {n: tensors[n] for n in segment.outputs}
        subgraphs.append(piece)
        signatures.append(Signature(segment.name, inputs, outputs, number))
        used.append(dataclasses.replace(segment, inputs=read))
    return Model(tuple(subgraphs), tuple(signatures), "multigraft"), used


def _between(graph: Graph, segment: SegmentSpec, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
    needed, ends = set(outputs), set(inputs)
    ops = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs) and not ends.issuperset(op.outputs):
            ops.append(op)
            needed.update(n for n in op.inputs if n)
    ops.reverse()
    made = {n for op in ops for n in op.outputs}
    open_ends = [n for n in needed - made - ends if graph.constant(n) is None]
    if open_ends:
        raise ConversionError(
            f"segment {segment.name!r} needs tensor {sorted(open_ends)[0]!r}, which is not behind its inputs",
            "cut where all paths meet",
        )
    touched = needed | made
    kept = tuple(dict.fromkeys(n for n in inputs if n in touched))
    tensors = {n: t for n, t in graph.tensors.items() if n in touched}
    return Graph(segment.name, kept, tuple(dict.fromkeys(outputs)), tuple(ops), tensors)
