"""If, Loop, Scan and Compress are written out where the way, the number of steps or what is kept is constant.

Constant is, too, what follows from the sizes of a network whose input has fixed ones.
"""

from __future__ import annotations

import onnx

from multigraft.converters.conversion.rewrites import control_flow, indexing
from multigraft.converters.conversion.rewrites.control_flow import LARGEST, nodes_in
from multigraft.converters.conversion.rewrites.editing import Editor, Rule, Writer
from multigraft.converters.conversion.rewrites.folding import fold_constants

_RULES: dict[str, Rule] = {
    **{operator: rules[0] for operator, rules in control_flow.RULES.items()},
    "Compress": indexing.compress,
}


def write_out_constant_ways(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without those operators, or with those among them that depend on the frame or repeat too much.

    Args:
        model: Of fixed input shape. It stays as it is, and comes back as it is if it has none of them.
    """
    if not any(n.op_type in _RULES for n in model.graph.node):
        return model
    editor = Editor(model)
    fold_constants(editor)
    most = nodes_in(editor.graph) + LARGEST  # branches that are taken make no node that is not there already
    while len(editor.graph.node) <= most:
        nodes: list[onnx.NodeProto] = []
        is_changed = False
        for node in editor.graph.node:
            writer = Writer(editor, node)
            is_written_out = node.op_type in _RULES and _RULES[node.op_type](writer)
            nodes += writer.nodes if is_written_out else [node]
            is_changed = is_changed or is_written_out
        if not is_changed:
            break
        editor.set_nodes(nodes)
        fold_constants(editor)
    del editor.graph.value_info[:]
    return editor.model
