"""Images cut into windows by reshapes around a transpose, as MobileViT does."""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_UNFOLDING = [0, 1, 3, 5, 2, 4]


def unfold(writer: Writer) -> bool:
    """The Reshape after a Transpose that gathers the pixels of windows goes by way of 5 dimensions.

    onnx2tf takes every Reshape, Transpose, Reshape of this form for SpaceToDepth, and stops where it is another.
    """
    node, editor = writer.node, writer.editor
    shape, before = editor.shape(node.output[0]), editor.shape(node.input[0])
    if shape is None or before is None or (len(before), len(shape)) != (6, 4):
        return False
    if shape[1:] == (before[1] * before[2] * before[3], *before[4:]):
        return False
    transpose = next((n for n in editor.graph.node if node.input[0] in n.output), None)
    if transpose is None or transpose.op_type != "Transpose" or attributes(transpose).get("perm") != _UNFOLDING:
        return False
    wide = writer("Reshape", node.input[0], writer.ints("windows", [*before[:2], before[2] * before[3], *before[4:]]))
    writer("Reshape", wide, writer.ints("shape", shape), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"Reshape": (unfold,)}
