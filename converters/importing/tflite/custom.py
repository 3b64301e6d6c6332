"""Custom operators that are builtin ones under another name."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np

from multigraft.tflite.graph import Graph, Op, Tensor

_TRANSPOSE_CONV = "Convolution2DTransposeBias"
_PADDINGS = {1: "SAME", 2: "VALID"}
"""Enum ``TfLitePadding``, which stands first in the operator's options, before the strides along x and y.

Source: mediapipe/util/tflite/operations/transpose_conv_bias.cc.
"""


def as_builtin(graph: Graph) -> Graph:
    """``graph`` with every custom operator that is known here written as builtin ones."""
    tensors = dict(graph.tensors)
    ops = tuple(_transpose_conv(op, tensors) if op.custom_code == _TRANSPOSE_CONV else op for op in graph.ops)
    return dataclasses.replace(graph, ops=ops, tensors=tensors)


def _transpose_conv(op: Op, tensors: dict[str, Tensor]) -> Op:
    """A transposed convolution that takes image, weights and bias, and no output shape."""
    if len(op.inputs) != 3 or len(op.outputs) != 1 or len(op.custom_options) < 12:
        return op
    padding, stride_w, stride_h = struct.unpack_from("<iii", op.custom_options)
    if padding not in _PADDINGS:
        return op
    shape = f"{op.outputs[0]}/shape"
    value = np.array(tensors[op.outputs[0]].shape, np.int32)
    tensors[shape] = Tensor(shape, value.shape, "int32", None, value)
    options: dict[str, int | str] = {"padding": _PADDINGS[padding], "stride_w": stride_w, "stride_h": stride_h}
    image, weights, bias = op.inputs
    return Op("TRANSPOSE_CONV", (shape, weights, image, bias), op.outputs, options, version=3)
