"""Images cut into windows by reshapes around a transpose, as MobileViT does."""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_UNFOLDING = [0, 1, 3, 5, 2, 4]


def unfold(writer: Writer) -> bool:
    """The Transpose that gathers the pixels of windows goes in two steps.

    onnx2tf takes every Reshape, Transpose, Reshape of this form for SpaceToDepth, and stops where it is another.
    """
    node, editor = writer.node, writer.editor
    shape = editor.shape(node.output[0])
    if shape is None or attributes(node).get("perm") != _UNFOLDING:
        return False
    readers = [n for n in editor.graph.node if node.output[0] in n.input and n.op_type == "Reshape"]
    results = [result for n in readers if (result := editor.shape(n.output[0])) is not None and len(result) == 4]
    if all(r[1:] == (shape[1] * shape[2] * shape[3], *shape[4:]) for r in results):
        return False
    rows = writer("Transpose", node.input[0], perm=[0, 1, 3, 2, 4, 5])
    writer("Transpose", rows, to=node.output[0], perm=[0, 1, 2, 5, 3, 4])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"Transpose": (unfold,)}
