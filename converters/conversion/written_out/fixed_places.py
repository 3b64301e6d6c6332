"""Resampling at constant places, which is linear in the image, as one product with a matrix that onnxruntime gives.

RoiAlign by average, GridSample, DeformConv without its bias, and Col2Im, as long as their places are constants.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_LARGEST = 1 << 21
"""Elements of a matrix that is still stored; beyond, the operator stays, or is refused."""


def per_channel(writer: Writer) -> bool:
    """RoiAlign and GridSample treat every channel alike: a matrix from positions to positions."""
    node, given = writer.node, attributes(writer.node)
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    if shape is None or result is None or len(shape) < 3 or shape[0] != 1 or given.get("mode") == "max":
        return False
    positions, places = math.prod(shape[2:]), math.prod(result) // result[1]
    matrix = _matrix(writer, (1, positions, *shape[2:]), positions, places)
    if matrix is None:
        return False
    channels = shape[1]
    x = writer("Reshape", node.input[0], writer.ints("positions", [channels, positions]))
    # Regions lie in front of the channels in the result of RoiAlign.
    regions = result[0]
    y = writer("MatMul", x, writer.constant("matrix", matrix))
    if regions > 1:
        y = writer("Reshape", y, writer.ints("regions", [channels, regions, places // regions]))
        y = writer("Transpose", y, perm=[1, 0, 2])
    writer("Reshape", y, writer.ints("shape", result), to=node.output[0])
    return True


def whole(writer: Writer) -> bool:
    """Col2Im and DeformConv: a matrix from all elements of a frame to all of the result."""
    node = writer.node
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    if shape is None or result is None or shape[0] != 1:
        return False
    size, places = math.prod(shape), math.prod(result)
    if size * places > _LARGEST:
        return False
    inputs = list(node.input)
    bias = ""
    if node.op_type == "DeformConv" and len(inputs) > 3 and inputs[3]:
        bias, inputs[3] = inputs[3], ""
    rows = [_answer(writer, inputs, unit.reshape(shape)) for unit in np.eye(size, dtype=np.float32)]
    if any(r is None for r in rows):
        return False
    matrix = np.stack([r.reshape(-1) for r in rows if r is not None])
    x = writer("Reshape", node.input[0], writer.ints("flat", [1, size]))
    y = writer("MatMul", x, writer.constant("matrix", matrix))
    values = writer.editor.constant(bias) if bias else None
    if values is not None:
        spread = np.broadcast_to(values.reshape(1, -1, *(1,) * (len(result) - 2)), result).reshape(1, -1)
        y = writer("Add", y, writer.constant("bias", spread))
    writer("Reshape", y, writer.ints("shape", result), to=node.output[0])
    return not bias or values is not None


def affine_grid(writer: Writer) -> bool:
    """AffineGrid multiplies the computed matrices with constant positions."""
    node = writer.node
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    if shape is None or result is None or shape[0] != 1 or writer.editor.constant(node.input[1]) is None:
        return False
    units = np.eye(shape[1] * shape[2], dtype=np.float32)
    rows = [_answer(writer, list(node.input), unit.reshape(shape)) for unit in units]
    if any(r is None for r in rows):
        return False
    matrix = np.stack([r.reshape(-1) for r in rows if r is not None])
    x = writer("Reshape", node.input[0], writer.ints("flat", [1, len(units)]))
    y = writer("MatMul", x, writer.constant("matrix", matrix))
    writer("Reshape", y, writer.ints("shape", result), to=node.output[0])
    return True


def _matrix(writer: Writer, shape: tuple[int, ...], rows: int, columns: int) -> Array | None:
    """Every unit image is a channel of one image; the answers are the rows."""
    if rows * columns > _LARGEST:
        return None
    units = np.eye(rows, dtype=np.float32).reshape(shape)
    answer = _answer(writer, list(writer.node.input), units)
    if answer is None:
        return None
    moved: Array = np.moveaxis(answer, 1, 0).reshape(rows, columns)
    return moved


def _answer(writer: Writer, inputs: list[str], value: Array) -> Array | None:
    """What the node gives for another first input; None if its other inputs are no constants."""
    import onnxruntime

    node, editor = writer.node, writer.editor
    constants = {n: editor.constant(n) for n in inputs[1:] if n}
    if any(c is None for c in constants.values()):
        return None
    kept: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    copy = helper.make_node(node.op_type, ["image", *inputs[1:]], ["answer"], **kept)
    info = helper.make_tensor_value_info("image", TensorProto.FLOAT, value.shape)
    made = helper.make_empty_tensor_value_info("answer")
    stored = [numpy_helper.from_array(c, n) for n, c in constants.items() if c is not None]
    graph = helper.make_graph([copy], "unit", [info], [made], stored)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=editor.model.opset_import, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        answer: Array = session.run(None, {"image": value})[0]
    except Exception:
        return None
    return answer


RULES: dict[str, tuple[Rule, ...]] = {
    "RoiAlign": (per_channel,),
    "GridSample": (per_channel,),
    "Col2Im": (whole,),
    "DeformConv": (whole,),
    "AffineGrid": (affine_grid,),
}
