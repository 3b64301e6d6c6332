"""Applies the rewrites, an operator at a time, until none has anything to say."""

from __future__ import annotations

import onnx

from multigraft.converters.conversion.rewrites.editing import Editor, Rule, Writer

RULES: dict[str, tuple[Rule, ...]] = {}
"""Operator to its rewrites, tried in this order."""

_LIMIT = 100_000


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same in operators that onnx2tf converts rightly; inputs and outputs keep their names."""
    editor = Editor(model)
    for _ in range(_LIMIT):
        if not any(_applied(editor, node) for node in list(editor.graph.node)):
            return editor.finished()
    raise AssertionError("the rewrites undo each other")


def _applied(editor: Editor, node: onnx.NodeProto) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    for rule in RULES.get(node.op_type, ()):
        writer = Writer(editor, node)
        if rule(writer):
            editor.replace(node, writer.nodes)
            return True
    return False
