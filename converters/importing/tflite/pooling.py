"""AVERAGE_POOL_2D, MAX_POOL_2D, L2_POOL_2D, and the reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.converters.importing.tflite.layouts import Form, axis_in
from multigraft.converters.importing.tflite.windows import integer, pads_of
from multigraft.tflite.graph import Op


def _pool(kind: str) -> Callable[[GraphBuilder, Op], None]:
    def emit(b: GraphBuilder, op: Op) -> None:
        kernel = (integer(op, "filter_height"), integer(op, "filter_width"))
        strides = (integer(op, "stride_h"), integer(op, "stride_w"))
        pads = pads_of(op, b.shapes[op.inputs[0]][1:3], kernel, strides, (1, 1))
        source = b.first(op.inputs[0])
        b.finish(op, "first", kind, [source], kernel_shape=list(kernel), strides=list(strides), pads=pads)

    return emit


def _l2_pool(b: GraphBuilder, op: Op) -> None:
    kernel = (integer(op, "filter_height"), integer(op, "filter_width"))
    strides = (integer(op, "stride_h"), integer(op, "stride_w"))
    pads = pads_of(op, b.shapes[op.inputs[0]][1:3], kernel, strides, (1, 1))
    source, output = b.first(op.inputs[0]), b.named(op.outputs[0])
    squares = b.node("Mul", [source, source], b.fresh(f"{output}/squares"))
    mean = b.node(
        "AveragePool",
        [squares],
        b.fresh(f"{output}/mean"),
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=pads,
    )
    b.finish(op, "first", "Sqrt", [mean])


def _reduce(kind: str) -> Callable[[GraphBuilder, Op], None]:
    def emit(b: GraphBuilder, op: Op) -> None:
        source = op.inputs[0]
        rank = len(b.shapes[source])
        axes = sorted({axis % rank for axis in b.parameter(op, 1)}) if rank else []
        keeps = bool(op.options.get("keep_dims", False))
        form = b.common_form([source], rank)
        left = [axis for axis in range(rank) if axis not in axes]
        places = [axis_in(form, axis, rank) for axis in left]
        if not keeps and places != sorted(places):
            form = "last"
        turned = sorted(axis_in(form, axis, rank) for axis in axes)
        held: Form = form if keeps else "last"
        if kind == "ReduceMean" and keeps and form == "first" and rank == 4 and axes == [1, 2]:
            b.finish(op, "first", "GlobalAveragePool", [b.first(source)])
            return
        output = b.named(op.outputs[0])
        places_name = b.store(f"{output}/axes", np.array(turned, np.int64))
        b.finish(
            op, held, kind, [b.get(source, form), places_name], keepdims=int(keeps), noop_with_empty_axes=int(not axes)
        )

    return emit


def _arg(kind: str) -> Callable[[GraphBuilder, Op], None]:
    def emit(b: GraphBuilder, op: Op) -> None:
        source, output = op.inputs[0], op.outputs[0]
        rank = len(b.shapes[source])
        axis = b.parameter(op, 1)[0] % rank
        form = b.common_form([source], rank)
        places = [axis_in(form, a, rank) for a in range(rank) if a != axis]
        if places != sorted(places):
            form = "last"
        attributes = {"axis": axis_in(form, axis, rank), "keepdims": 0}
        dtype = b.graph.tensors[output].dtype
        if dtype == "int64":
            b.finish(op, "last", kind, [b.get(source, form)], **attributes)
            return
        found = b.node(kind, [b.get(source, form)], b.fresh(f"{b.named(output)}/place"), **attributes)
        b.finish(op, "last", "Cast", [found], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    return emit


EMITTERS = {
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "L2_POOL_2D": _l2_pool,
    "MEAN": _reduce("ReduceMean"),
    "SUM": _reduce("ReduceSum"),
    "REDUCE_MAX": _reduce("ReduceMax"),
    "REDUCE_MIN": _reduce("ReduceMin"),
    "REDUCE_PROD": _reduce("ReduceProd"),
    "ARG_MAX": _arg("ArgMax"),
    "ARG_MIN": _arg("ArgMin"),
}
