"""Slices that run backwards, uneven splits, and negative constant indices, in forms that TFLite has."""

from __future__ import annotations

import math

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes


def backward_slice(writer: Writer) -> bool:
    """A Slice with a negative step gathers its elements by constant indices, an axis at a time."""
    node = writer.node
    values = [writer.editor.constant(name) if name else None for name in node.input[1:]]
    shape = writer.editor.shape(node.input[0])
    if shape is None or len(values) < 4 or values[0] is None or values[1] is None or values[3] is None:
        return False
    starts, ends, steps = values[0], values[1], values[3]
    axes = range(len(starts)) if values[2] is None else values[2]
    if (steps > 0).all():
        return False
    x = node.input[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[int(axis)]
        # Python clamps as ONNX does, but takes an end below -size for "to the first", which ONNX writes as any such.
        first, last, stride = slice(int(start), None if end < -size and step < 0 else int(end), int(step)).indices(size)
        x = writer("Gather", x, writer.ints("indices", range(first, last, stride)), axis=int(axis))
    writer("Identity", x, to=node.output[0])
    return True


def compress(writer: Writer) -> bool:
    """Compress by a constant condition gathers what that keeps."""
    node, axis = writer.node, attributes(writer.node).get("axis")
    condition, shape = writer.editor.constant(node.input[1]), writer.editor.shape(node.input[0])
    if condition is None or shape is None or not condition.any():
        return False
    x = node.input[0]
    if axis is None:
        x = writer("Reshape", x, writer.ints("flat", [-1]))
    writer("Gather", x, writer.ints("kept", np.flatnonzero(condition)), to=node.output[0], axis=axis or 0)
    return True


def uneven_split(writer: Writer) -> bool:
    """A Split into a number of parts names their sizes, the last one smaller if need be."""
    node, given = writer.node, attributes(writer.node)
    parts, axis = given.get("num_outputs"), given.get("axis", 0)
    shape = writer.editor.shape(node.input[0])
    if parts is None or shape is None or writer.editor.opset < 18:
        return False
    size = math.ceil(shape[axis] / parts)
    sizes = [size] * (parts - 1) + [shape[axis] - size * (parts - 1)]
    if min(sizes) < 0:
        return False
    writer.several("Split", node.input[0], writer.ints("sizes", sizes), to=node.output, axis=axis)
    return True


def positive_indices(writer: Writer) -> bool:
    """Negative constant indices count from the front."""
    node = writer.node
    indices, shape = writer.editor.constant(node.input[1]), writer.editor.shape(node.input[0])
    if indices is None or shape is None or not (indices < 0).any():
        return False
    if node.op_type in ("Gather", "GatherElements", "ScatterElements"):
        size: object = shape[attributes(node).get("axis", 0)]
    else:
        first = attributes(node).get("batch_dims", 0)
        size = np.array(shape[first : first + indices.shape[-1]], np.int64)
    positive = np.where(indices < 0, indices + size, indices)
    kept = writer.constant("indices", positive, np.int64)
    writer(node.op_type, node.input[0], kept, *node.input[2:], to=node.output[0], **attributes(node))
    return True


def space_to_depth(writer: Writer) -> bool:
    """SpaceToDepth whose channels come first (mode CRD) is a transpose between reshapes."""
    (x,), given = writer.node.input, attributes(writer.node)
    shape = writer.editor.shape(x)
    if given.get("mode", "DCR") != "CRD" or shape is None:
        return False
    n, c, h, w = shape
    b = given["blocksize"]
    split = writer("Reshape", x, writer.ints("split", [n * c, h // b, b, w // b, b]))
    moved = writer("Transpose", split, perm=[0, 2, 4, 1, 3])
    writer("Reshape", moved, writer.ints("joined", [n, c * b * b, h // b, w // b]), to=writer.node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    "Compress": (compress,),
    "Slice": (backward_slice,),
    "Split": (uneven_split,),
    "SpaceToDepth": (space_to_depth,),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"), (positive_indices,)),
}
