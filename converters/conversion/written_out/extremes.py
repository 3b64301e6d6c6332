"""ArgMax and ArgMin that take the last of equal values, and the places of maximum pooling."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip

_LARGEST = 1 << 18
"""Elements of all windows whose places are asked for."""

_EXACT = 1 << 24
"""Whole numbers up to this are exact in float32."""


def last_index(writer: Writer) -> bool:
    """The last of equal values is the first from behind."""
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    if not given.get("select_last_index") or shape is None:
        return False
    axis, keeps = given.get("axis", 0), given.get("keepdims", 1)
    size = shape[axis]
    turned = writer("Gather", node.input[0], writer.ints("turned", range(size)[::-1]), axis=axis)
    index = writer(node.op_type, turned, axis=axis, keepdims=keeps)
    counted = writer("Sub", writer.constant("last", size - 1), writer.cast(index, TensorProto.FLOAT))
    writer.cast(counted, TensorProto.INT64, to=node.output[0])
    return True


def single(writer: Writer) -> bool:
    """What reduces all dimensions to a single number keeps them first: onnx2tf has no tensors without dimensions."""
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    result = writer.editor.shape(node.output[0])
    if node.op_type in ("ArgMax", "ArgMin"):
        if shape is None or len(shape) != 1 or result is None:
            return False
        row = writer("Reshape", node.input[0], writer.ints("row", [1, *shape]))
        index = writer(node.op_type, row, axis=1, keepdims=0)
        writer("Reshape", index, writer.ints("single", result), to=node.output[0])
        return True
    if result != () or not shape:
        return False
    kept = writer(node.op_type, *node.input, **{**given, "keepdims": 1})
    writer("Reshape", kept, writer.ints("single", []), to=node.output[0])
    return True


def unread_places(writer: Writer) -> bool:
    """MaxPool does not give places that nobody reads."""
    node, graph = writer.node, writer.editor.graph
    if len(node.output) < 2 or not node.output[1]:
        return False
    read = {n for other in graph.node for n in other.input} | {o.name for o in graph.output}
    if node.output[1] in read:
        return False
    given = attributes(node)
    given.pop("storage_order", None)
    writer("MaxPool", node.input[0], to=node.output[0], **given)
    return True


def places(writer: Writer) -> bool:
    """The places of maxima: every window is gathered, and ArgMax chooses from the places of its elements."""
    node, editor, given = writer.node, writer.editor, attributes(writer.node)
    shape, result = editor.shape(node.input[0]), editor.shape(node.output[0])
    if len(node.output) < 2 or not node.output[1] or shape is None or result is None:
        return False
    is_unpooled = any(n.op_type == "MaxUnpool" and node.output[1] in n.input for n in editor.graph.node)
    if is_unpooled:
        return False
    is_automatic = given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if given.get("storage_order") or is_automatic:
        return False
    rank, sizes = len(shape) - 2, shape[2:]
    kernel = given["kernel_shape"]
    strides, dilations = (given.get(name, [1] * rank) for name in ("strides", "dilations"))
    before = given.get("pads", [0] * 2 * rank)[:rank]
    outer, positions, windows, count = (int(np.prod(v)) for v in (shape[:2], sizes, result[2:], kernel))
    if windows * count > _LARGEST or outer * positions > _EXACT:
        return False
    grid = np.indices((*result[2:], *kernel)).reshape(2 * rank, windows, count)
    at = [grid[a] * strides[a] - before[a] + grid[rank + a] * dilations[a] for a in range(rank)]
    is_inside = np.all([(a >= 0) & (a < size) for a, size in zip(at, sizes, strict=True)], axis=0)
    clipped = [np.clip(a, 0, size - 1) for a, size in zip(at, sizes, strict=True)]
    table = np.where(is_inside, np.ravel_multi_index(tuple(clipped), sizes), positions)
    flat = writer("Reshape", node.input[0], writer.ints("rows", [outer, positions]))
    flat = writer("Concat", flat, writer.constant("outside", np.full((outer, 1), np.finfo(np.float32).min)), axis=1)
    taken = writer("Gather", flat, writer.ints("windows", table.reshape(-1)), axis=1)
    taken = writer("Reshape", taken, writer.ints("elements", [outer, windows, count]))
    chosen = writer("ArgMax", taken, axis=2, keepdims=0)
    depth, ends = writer.ints("depth", [count]), writer.constant("ends", [0.0, 1.0])
    is_chosen = writer("OneHot", chosen, depth, ends, axis=2)
    index = writer("Mul", is_chosen, writer.constant("places", table[None]))
    index = _summed(writer, index, 2)
    index = writer("Add", index, writer.constant("frames", np.arange(outer)[:, None] * positions))
    index = writer("Reshape", index, writer.ints("shape", result))
    writer.cast(index, TensorProto.INT64, to=node.output[1])
    writer("MaxPool", node.input[0], to=node.output[0], **given)
    return True


def _summed(writer: Writer, x: str, axis: int) -> str:
    if writer.editor.opset < 13:
        return writer("ReduceSum", x, axes=[axis], keepdims=0)
    return writer("ReduceSum", x, writer.ints("axes", [axis]), keepdims=0)


def unpool(writer: Writer) -> bool:
    """MaxUnpool behind a MaxPool of windows side by side: every element that is the first maximum of its window."""
    node, editor = writer.node, writer.editor
    pool = next((n for n in editor.graph.node if len(n.output) > 1 and n.output[1] == node.input[1]), None)
    if pool is None or pool.op_type != "MaxPool" or len(node.input) > 2:
        return False
    given, back = attributes(pool), attributes(node)
    kernel = given["kernel_shape"]
    shape, result = editor.shape(pool.input[0]), editor.shape(node.output[0])
    pooled = editor.shape(node.input[0])
    is_apart = given.get("strides") == kernel and not any(given.get("pads", ())) and not given.get("ceil_mode")
    is_apart = is_apart and set(given.get("dilations", [1])) == {1} and given.get("auto_pad", "NOTSET") == "NOTSET"
    is_same = back["kernel_shape"] == kernel and back.get("strides") == kernel and not any(back.get("pads", ()))
    if not is_apart or not is_same or shape is None or result is None or pooled is None or len(kernel) != 2:
        return False
    if editor.shape(pool.output[0]) != pooled or given.get("storage_order"):
        return False
    if result != shape or result[2:] != tuple(p * k for p, k in zip(pooled[2:], kernel, strict=True)):
        return False
    (n, c, h, w), (kh, kw) = pooled, kernel
    windows, values = _windows(writer, pool.input[0], pooled, kernel), node.input[0]
    highest = writer("Reshape", pool.output[0], writer.ints("column", [n * c, h, w, 1]))
    equal = writer.cast(writer("Equal", windows, highest), TensorProto.FLOAT)
    # The first maximum is the one before which none is.
    count = kh * kw
    before = np.triu(np.ones((count, count)), 1)
    seen = writer("MatMul", equal, writer.constant("before", before))
    first = writer("Mul", equal, writer.cast(writer("Less", seen, writer.constant("half", 0.5)), TensorProto.FLOAT))
    spread = writer("Mul", first, writer("Reshape", values, writer.ints("values", [n * c, h, w, 1])))
    x = writer("Reshape", spread, writer.ints("apart", [n * c * h, w, kh, kw]))
    x = writer("Transpose", x, perm=[0, 2, 1, 3])
    writer("Reshape", x, writer.ints("joined", result), to=node.output[0])
    return True


def _windows(writer: Writer, x: str, pooled: tuple[int, ...], kernel: list[int]) -> str:
    """(images and channels, rows, columns, elements of a window)."""
    (n, c, h, w), (kh, kw) = pooled, kernel
    x = writer("Reshape", x, writer.ints("rows", [n * c * h, kh, w, kw]))
    x = writer("Transpose", x, perm=[0, 2, 1, 3])
    return writer("Reshape", x, writer.ints("windows", [n * c, h, w, kh * kw]))


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("ArgMax", "ArgMin"), (last_index, single)),
    **dict.fromkeys(_REDUCTIONS, (single,)),
    "MaxPool": (unread_places, places),
    "MaxUnpool": (unpool,),
}
