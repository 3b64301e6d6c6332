"""Applies the rewrites, an operator at a time, until none has anything to say."""

from __future__ import annotations

import onnx

from multigraft.converters.conversion.rewrites import (
    activations,
    batch_norm,
    control_flow,
    functions,
    hard_swish,
    indexing,
    masking,
    normalisation,
    padding,
    pooling,
    recurrent,
    resizing,
    sampling,
    unchanged,
    variadic,
    windows,
)
from multigraft.converters.conversion.rewrites.editing import Editor, Rule, Writer
from multigraft.converters.conversion.rewrites.folding import fold_constants, without_identities
from multigraft.converters.conversion.written_out import (
    broadcasting,
    contraction,
    extremes,
    fixed_indices,
    fixed_places,
    pad_modes,
    transforms,
    transposed_convolution,
)

_FAMILIES = (
    hard_swish, unchanged, padding, pad_modes, extremes, pooling, variadic, activations, normalisation, batch_norm,
    indexing, fixed_indices, resizing, fixed_places, sampling, recurrent, control_flow, contraction,
    transposed_convolution, masking, broadcasting, transforms, functions, windows,
)  # fmt: skip
RULES: dict[str, tuple[Rule, ...]] = {
    operator: tuple(rule for family in _FAMILIES for rule in family.RULES.get(operator, ()))
    for family in _FAMILIES
    for operator in family.RULES
}
"""Operator to its rewrites, tried in this order."""

_PASSES = 100


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same in operators that onnx2tf converts rightly; inputs and outputs keep their names."""
    editor = Editor(model)
    fold_constants(editor)
    for _ in range(_PASSES):
        replaced = [_replacement(editor, node) for node in editor.graph.node]
        if all(r is None for r in replaced):
            return without_identities(editor.finished())
        pairs = zip(editor.graph.node, replaced, strict=True)
        editor.set_nodes([n for old, new in pairs for n in ([old] if new is None else new)])
        fold_constants(editor)
    raise AssertionError("the rewrites undo each other")


def _replacement(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    if node.domain in ("", "ai.onnx"):
        for rule in RULES.get(node.op_type, ()):
            writer = Writer(editor, node)
            if rule(writer):
                return writer.nodes
    return None
