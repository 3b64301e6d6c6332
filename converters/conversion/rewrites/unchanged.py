"""Operators that change nothing go, and reshapes in a row are one.

onnx2tf leaves them out by giving what they read the name of what they write, and lets others read what is no longer
written.
"""

from __future__ import annotations

import numpy as np
import onnx

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def same(writer: Writer) -> bool:
    """Pass the first input on where the result has the same elements in the same order and shape."""
    node, editor = writer.node, writer.editor
    shape, result = editor.shape(node.input[0]), editor.shape(node.output[0])
    if shape is None or shape != result or any(node.output[1:]) or not _is_unchanged(writer, shape):
        return False
    writer("Identity", node.input[0], to=node.output[0])
    return True


def _is_unchanged(writer: Writer, shape: tuple[int, ...]) -> bool:
    node, editor, given = writer.node, writer.editor, attributes(writer.node)
    kind = node.op_type
    if kind == "Cast":
        return bool(editor.dtype(node.input[0]) == given["to"])
    if kind == "Transpose":
        moved = [a for a in given.get("perm", range(len(shape))[::-1]) if shape[a] != 1]
        return moved == sorted(moved)
    if kind == "Slice":
        steps = editor.constant(node.input[4]) if len(node.input) > 4 and node.input[4] else np.ones(1)
        return steps is not None and bool((steps == 1).all())
    if kind == "Pad":
        amounts = editor.constant(node.input[1])
        return amounts is not None and not amounts.any()
    if kind in ("Mul", "Div", "Pow", "Add", "Sub"):
        other = editor.constant(node.input[1])
        return other is not None and bool((other == (0 if kind in ("Add", "Sub") else 1)).all())
    if kind in ("DepthToSpace", "SpaceToDepth"):
        return bool(given["blocksize"] == 1)
    return True


def joined(writer: Writer) -> bool:
    """A reshape of what a reshape wrote reads what that one read."""
    node, editor = writer.node, writer.editor
    before = _writer_of(editor.graph, node.input[0])
    result = editor.shape(node.output[0])
    if before is None or before.op_type not in _RESHAPES or result is None:
        return False
    writer("Reshape", before.input[0], writer.ints("shape", result), to=node.output[0])
    return True


def without_empty(writer: Writer) -> bool:
    """Concat does not read tensors without elements."""
    node = writer.node
    kept = [n for n in node.input if 0 not in (writer.editor.shape(n) or ())]
    if len(kept) == len(node.input) or not kept:
        return False
    writer("Concat", *kept, to=node.output[0], **attributes(node))
    return True


def without_empty_parts(writer: Writer) -> bool:
    """Split does not write parts without elements that nobody reads."""
    node, editor = writer.node, writer.editor
    sizes = editor.constant(node.input[1]) if len(node.input) > 1 else None
    read = {n for other in editor.graph.node for n in other.input} | {o.name for o in editor.graph.output}
    if sizes is None or all(sizes) or any(o in read for o, size in zip(node.output, sizes, strict=True) if not size):
        return False
    kept = [o for o, size in zip(node.output, sizes, strict=True) if size]
    writer.several("Split", node.input[0], writer.ints("sizes", sizes[sizes > 0]), to=kept, **attributes(node))
    return True


def _writer_of(graph: onnx.GraphProto, tensor: str) -> onnx.NodeProto | None:
    """The node that writes a tensor, or what that passes on."""
    writers = {o: n for n in graph.node for o in n.output}
    node = writers.get(tensor)
    while node is not None and node.op_type == "Identity":
        node = writers.get(node.input[0])
    return node


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(_RESHAPES, (joined, same)),
    **dict.fromkeys(("Cast", "Transpose", "Slice", "Pad", "Mul", "Div", "Pow", "Add", "Sub"), (same,)),
    "Concat": (without_empty,),
    "Split": (without_empty_parts,),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "Expand", "Tile", "CenterCropPad", "Dropout"), (same,)),
}
