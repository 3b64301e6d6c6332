"""Heads solved anew on what the quantised network gives them.

Of a frame, the int8 tensor at a place is not the float one: rounding in the layers before it moves whole channels by a
fraction of what tells frames apart. A head that was fitted on floats passes that on. So the weights of every head are
solved once more, by the same regression, from the values that the finished segments write to the logits of the float
network, and laid into the quantised graph in the place of the old ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.exits.far import refitted_far
from multigraft.converters.exits.gates import refitted_gate
from multigraft.converters.exits.heads import Head, Rows, as_stored, pooled
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.planning import refitted
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frames
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.finishing import Conversion, Finishing
from multigraft.converters.quantising.linear_operators import LinearOperator, linear_operator, with_constants
from multigraft.converters.quantising.sound_ranges import step
from multigraft.converters.quantising.sound_scales import least_scales, stored_bias
from multigraft.exits.thresholds import Asked
from multigraft.runtime.offload.cuts import segments_before
from multigraft.tensors.arrays import Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tflite.graph import Graph, Quant, Tensor

_LARGEST = 127


def with_own_heads(
    conversion: Conversion, inserted: Sequence[Inserted], frames: Frames, asked: Asked, tests: int, report: Report
) -> tuple[Finishing | None, tuple[Inserted, ...]]:
    """What cuts the graph with the new heads, and the exits of one task with them.

    Args:
        conversion: With the exits.
        inserted: Those of one task, in running order.
        frames: Of the fit.
        asked: The promise of all exits together.
        tests: How many frames will test thresholds.
        report: Takes a line.
    """
    finishing = conversion.finishing
    if finishing is None:
        return None, tuple(inserted)
    placed = [head for one in inserted if (head := _head_of(finishing, one)) is not None]
    if len(placed) < len(inserted):
        return finishing, tuple(inserted)
    report(f"solving the heads of {inserted[0].task} on what their quantised layers give")
    rows = _features(conversion, finishing, inserted, frames)
    every, found = tests // len(inserted), []
    for one, head, features in zip(inserted, placed, rows, strict=True):
        reaching = round(every * float(one.planned.reach.mean()))
        rows_here = as_stored(features[one.planned.reach])
        if one.planned.rule == "far":
            planned = refitted_far(one.planned, rows_here, asked)
        elif one.planned.is_gate:
            planned = refitted_gate(one.planned, rows_here, asked, every)
        else:
            planned = refitted(one.planned, rows_here, asked.split(len(inserted)), reaching, every)
        finishing = _with_head(finishing, head, planned.head)
        found.append(dataclasses.replace(one, planned=planned))
    return finishing, tuple(found)


def _features(conversion: Conversion, finishing: Finishing, inserted: Sequence[Inserted], frames: Frames) -> list[Rows]:
    """Of every exit (frames, features), pooled from the values that segments write."""
    runner, manifest = BundleRunner(conversion.bundle), conversion.bundle.manifest
    tensors = [one.planned.place.tensor for one in inserted]
    segments = segments_before(manifest, inserted[0].task, tensors[-1])
    layouts = finishing.prepared.floating.layouts
    rows: list[list[Rows]] = [[] for _ in inserted]
    for frame in frames:
        values = runner.values(segments, frame)
        for row, one, tensor in zip(rows, inserted, tensors, strict=True):
            real = dequantise(values[tensor], manifest.tensor(tensor))
            whole = np.transpose(real, np.argsort(layouts[tensor]))
            row.append(pooled(whole[0], one.planned.head.grid))
    return [np.stack(row) for row in rows]


@dataclass(frozen=True)
class _Placed:
    """A head in the quantised and in the float graph, and where each input lies among the head's features."""

    int8: LinearOperator
    exact: LinearOperator
    order: Array


def _head_of(finishing: Finishing, one: Inserted) -> _Placed | None:
    """None where the head is not int8, or lies in no way that is known here."""
    floating, graph = finishing.prepared.floating.graph, finishing.quantised.graph
    name = finishing.prepared.floating.boundaries[one.output]
    writers = graph.producer(name), floating.producer(name)
    pair = [None if op is None else linear_operator(of, op) for op, of in zip(writers, (graph, floating), strict=True)]
    int8, exact = pair
    if int8 is None or exact is None or not (int8.bias and exact.bias):
        return None
    result = graph.tensors[name]
    if graph.tensors[int8.weights].dtype != "int8" or result.dtype != "int8" or graph.consumers(name):
        return None
    if graph.tensors[int8.source].dtype != "int8":
        return None
    head, rows = one.planned.head, exact.rows(floating)
    size = len(head.weight)
    orders = [np.arange(size)]
    if head.grid:
        cells = (size // head.grid**2, head.grid, head.grid)
        orders.append(np.arange(size).reshape(cells).transpose(1, 2, 0).reshape(-1))
    for order in orders:
        if rows.shape == head.weight.T.shape and np.allclose(rows, head.weight.T[:, order], rtol=1e-5, atol=1e-7):
            return _Placed(int8, exact, order)
    return None


def _with_head(finishing: Finishing, placed: _Placed, head: Head) -> Finishing:
    rows, bias = head.weight.T[:, placed.order].astype(np.float64), head.bias.astype(np.float64)
    graph = _quantised(finishing.quantised.graph, placed.int8, rows, bias, head)
    exact = placed.exact
    floating = finishing.prepared.floating
    tensors = floating.graph.tensors
    weights, offset = tensors[exact.weights], tensors[exact.bias]
    changed = [
        (exact.op.inputs.index(exact.weights), _holding(weights, rows.astype(np.float32))),
        (exact.op.inputs.index(exact.bias), _holding(offset, bias.astype(np.float32))),
    ]
    floating = dataclasses.replace(floating, graph=with_constants(floating.graph, exact.op, changed)[0])
    return dataclasses.replace(
        finishing,
        prepared=dataclasses.replace(finishing.prepared, floating=floating),
        quantised=dataclasses.replace(finishing.quantised, graph=graph),
    )


def _holding(tensor: Tensor, values: Array) -> Tensor:
    return dataclasses.replace(tensor, data=values.reshape(tensor.shape))


def _quantised(graph: Graph, int8: LinearOperator, rows: Array, bias: Array, head: Head) -> Graph:
    """With other weights, and a result whose range is that of the head's answers."""
    ends = head.ends
    scale = step(ends)
    quant = Quant((scale,), (int(np.clip(round(-128 - ends[0] / scale), -128, 127)),), 0)
    result = dataclasses.replace(graph.tensors[int8.result], quant=quant)
    graph = dataclasses.replace(graph, tensors={**graph.tensors, result.name: result})
    scales = np.maximum(np.abs(rows).max(1) / _LARGEST, least_scales(graph, int8, rows, bias)).astype(np.float32)
    stored = np.rint(rows / scales[:, None]).clip(-_LARGEST, _LARGEST).astype(np.int8)
    weights = graph.tensors[int8.weights]
    own = Quant(tuple(float(s) for s in scales), (0,) * len(scales), int8.axis)
    changed = [
        (int8.op.inputs.index(int8.weights), dataclasses.replace(_holding(weights, stored), quant=own)),
        (int8.op.inputs.index(int8.bias), stored_bias(graph, int8, bias, scales)),
    ]
    return with_constants(graph, int8.op, changed)[0]
