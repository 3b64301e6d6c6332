"""Layers with weights of -a and a as layers of -1 and 1 whose sums, whole numbers, are multiplied by a."""

from __future__ import annotations

import numpy as np
import onnx

from multigraft.converters.conversion.rewrites.editing import Editor, Writer, attributes
from multigraft.converters.network.steps import sizes_of


def with_plain_weights(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What replaces a Conv, Gemm or MatMul whose data are its first input; the node alone where it stays as it is."""
    weights = editor.constant(node.input[1])
    if weights is None or weights.dtype != np.float32:
        return [node]
    given = attributes(node)
    axis = {"Conv": 0, "Gemm": 0 if given.get("transB") else 1, "MatMul": weights.ndim - 1}[node.op_type]
    sizes = None if weights.ndim < 2 or given.get("transA") else sizes_of(weights, axis)
    if sizes is None:
        return [node]
    writer = Writer(editor, node)
    behind = (-1, *(1,) * (weights.ndim - 2)) if node.op_type == "Conv" else (-1,)
    plain = writer.constant("signs", np.copysign(1, weights))
    kept = {name: value for name, value in given.items() if name not in ("alpha", "beta")}
    factor = (sizes * np.float32(given.get("alpha", 1.0))).astype(np.float32)
    bias = editor.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if bias is None and len(node.input) > 2 and node.input[2]:
        return [node]
    has_factor = not (factor == 1).all()
    if not has_factor and bias is None:
        writer(node.op_type, node.input[0], plain, to=node.output[0], **kept)
        return writer.nodes
    end = node.output[0]
    result = writer(node.op_type, node.input[0], plain, **kept)
    if has_factor:
        result = writer(
            "Mul", result, writer.constant("size", factor.reshape(behind)), to="" if bias is not None else end
        )
    if bias is not None:
        value = bias * np.float32(given.get("beta", 1.0))
        writer("Add", result, writer.constant("bias", value.reshape(behind) if value.size > 1 else value), to=end)
    return writer.nodes
