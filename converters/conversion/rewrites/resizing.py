"""Resize in the forms that TFLite's two operators compute, and as gathers and matrices in all others.

Every mode of Resize works on one axis after the other, and on one axis it is a matrix (and, where it extrapolates, an
offset). Where the matrices are those of RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR, the node is written in that form;
else nearest gathers by constant indices, and all else multiplies. The matrices are asked of onnxruntime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_TFLITE_LINEAR = ("half_pixel", "align_corners", "asymmetric")


@dataclass(frozen=True)
class _Axis:
    """What Resize does along ``axis``: ``matrix`` (results, elements) and ``offset`` (results)."""

    axis: int
    matrix: Array
    offset: Array

    @property
    def is_identity(self) -> bool:
        return self.matrix.shape[0] == self.matrix.shape[1] and np.array_equal(self.matrix, np.eye(len(self.matrix)))


def resize(writer: Writer) -> bool:
    """Write a Resize in a form that is right."""
    node, given = writer.node, attributes(writer.node)
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    optional = [writer.editor.constant(n) if n else None for n in [*node.input[1:], "", "", ""][:3]]
    if shape is None or result is None or writer.editor.opset < 13:
        return False
    regions, scales, sizes = optional
    axes = [int(a) % len(shape) for a in given.get("axes", range(len(shape)))]
    changed = []
    for position, axis in enumerate(axes):
        region = None if regions is None or not regions.size else regions[[position, position + len(axes)]]
        scale = None if scales is None or not scales.size else float(scales[position])
        if scale is None and sizes is None:
            return False
        if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            scale = result[axis] / shape[axis]
        found = _along(given, axis, shape[axis], result[axis], scale, region)
        if found is None:
            return False
        if not found.is_identity:
            changed.append(found)
    if (plain := _plain(given, shape, result, changed)) is not None:
        if _is_canonical(node, given, plain):
            return False
        target = writer.ints("sizes", result)
        writer("Resize", node.input[0], "", "", target, to=node.output[0], **plain)
        return True
    x = node.input[0]
    for step in changed:
        x = _applied(writer, x, step, len(shape))
    writer("Identity", x, to=node.output[0])
    return True


def _along(
    given: dict[str, Any], axis: int, size: int, result: int, scale: float | None, region: Array | None
) -> _Axis | None:
    """Ask onnxruntime, with every unit vector as a row of an image of height 1."""
    import onnxruntime

    kept = {k: v for k, v in given.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    wanted = np.array([size, 1, 1, result], np.int64)
    factors = np.array([1, 1, 1, result / size if scale is None else scale], np.float32)
    whole = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    if region is not None:
        whole[[3, 7]] = region
    constants = [numpy_helper.from_array(whole, "roi")]
    by_scale = scale is not None and int(np.floor(size * scale)) == result
    constants.append(numpy_helper.from_array(factors if by_scale else wanted, "how"))
    names = ["x", "roi", "how"] if by_scale else ["x", "roi", "", "how"]
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, 1, 1, size])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Resize", names, ["y"], **kept)], "axis", [rows], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        offset = session.run(None, {"x": np.zeros((size, 1, 1, size), np.float32)})[0][0, 0, 0]
        image = session.run(None, {"x": np.eye(size, dtype=np.float32).reshape(size, 1, 1, size)})[0]
    except Exception:
        return None
    matrix = image.reshape(size, -1).T - offset[:, None]
    return _Axis(axis, matrix, offset) if matrix.shape == (result, size) else None


def _plain(
    given: dict[str, Any], shape: tuple[int, ...], result: tuple[int, ...], changed: list[_Axis]
) -> dict[str, Any] | None:
    """The attributes with which TFLite's own operator computes the same; None if there are none."""
    if len(shape) != 4 or shape[:2] != result[:2] or not changed or any(c.offset.any() for c in changed):
        return None
    if given.get("mode", "nearest") == "nearest":
        if all(np.array_equal(c.matrix.argmax(axis=1), _nearest(*c.matrix.shape)) for c in changed):
            return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return None
    for mode in _TFLITE_LINEAR:
        if all(np.abs(c.matrix - _linear(mode, *c.matrix.shape)).max() < 1e-6 for c in changed):
            return {"mode": "linear", "coordinate_transformation_mode": mode}
    return None


def _is_canonical(node: onnx.NodeProto, given: dict[str, Any], plain: dict[str, Any]) -> bool:
    return len(node.input) == 4 and not node.input[1] and not node.input[2] and plain == given


def _nearest(result: int, size: int) -> Array:
    """Which element RESIZE_NEAREST_NEIGHBOR takes."""
    taken: Array = np.minimum(np.floor(np.arange(result) * np.float32(size / result)).astype(np.int64), size - 1)
    return taken


def _linear(mode: str, result: int, size: int) -> Array:
    """The matrix of RESIZE_BILINEAR."""
    at = np.arange(result, dtype=np.float64)
    if mode == "align_corners":
        at = at * ((size - 1) / (result - 1) if result > 1 else 0)
    elif mode == "half_pixel":
        at = (at + 0.5) * size / result - 0.5
    else:
        at = at * size / result
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((result, size))
    np.add.at(matrix, (np.arange(result), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(result), high), at - low)
    return matrix


def _applied(writer: Writer, x: str, step: _Axis, rank: int) -> str:
    matrix, axis = step.matrix, step.axis
    is_choice = np.isin(matrix, (0, 1)).all() and (matrix.sum(axis=1) == 1).all()
    if is_choice and not step.offset.any():
        return writer("Gather", x, writer.ints("indices", matrix.argmax(axis=1)), axis=axis)
    order = [*(a for a in range(rank) if a != axis), axis]
    back = [int(a) for a in np.argsort(order)]
    if axis != rank - 1:
        x = writer("Transpose", x, perm=order)
    x = writer("MatMul", x, writer.constant("matrix", matrix.T))
    if step.offset.any():
        x = writer("Add", x, writer.constant("offset", step.offset))
    return x if axis == rank - 1 else writer("Transpose", x, perm=back)


RULES: dict[str, tuple[Rule, ...]] = {"Resize": (resize,)}
