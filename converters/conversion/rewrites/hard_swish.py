"""``x * relu6(x + 3) / 6``, as exporters write it before operator set 14, is one HardSwish: one operator and no range
of the product of two, which int8 stores coarsely.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from multigraft.converters.conversion.rewrites.editing import Editor, Rule, Writer, attributes

_SINCE = 14
"""The operator set that has it."""

_CLOSE = 1e-5


def hard_swish(writer: Writer) -> bool:
    """Written with the sixth at the end, or at the clipped factor, or by HardSigmoid."""
    node, editor = writer.node, writer.editor
    if editor.opset < _SINCE:
        return False
    x = ""
    if whole := _sixth_of(editor, node):
        product = editor.producer(whole)
        if product is not None and product.op_type == "Mul":
            x = _factor(product, lambda name: _of_clipped(editor, name))
    elif node.op_type == "Mul" and all(editor.constant(n) is None for n in node.input):
        x = _factor(node, lambda name: _of_gate(editor, name))
    if not x or editor.shape(x) is None or editor.shape(x) != editor.shape(node.output[0]):
        return False
    writer("HardSwish", x, to=node.output[0])
    return True


def _factor(product: onnx.NodeProto, gated: Callable[[str], str]) -> str:
    """The one input whose gate the other one is; empty if none is."""
    a, b = product.input
    return str(a) if gated(b) == a else str(b) if gated(a) == b else ""


def _of_gate(editor: Editor, name: str) -> str:
    """``x`` where a tensor is ``relu6(x + 3) / 6``."""
    node = editor.producer(name)
    if node is None:
        return ""
    if node.op_type == "HardSigmoid":
        given = attributes(node)
        is_sixth = abs(given.get("alpha", 0.2) - 1 / 6) < _CLOSE and given.get("beta", 0.5) == 0.5
        return str(node.input[0]) if is_sixth else ""
    inner = _sixth_of(editor, node)
    return _of_clipped(editor, inner) if inner else ""


def _of_clipped(editor: Editor, name: str) -> str:
    """``x`` where a tensor is ``relu6(x + 3)``."""
    clip = editor.producer(name)
    if clip is None or clip.op_type != "Clip" or len(clip.input) != 3:
        return ""
    if not _is(editor, clip.input[1], 0) or not _is(editor, clip.input[2], 6):
        return ""
    added = editor.producer(clip.input[0])
    if added is None or added.op_type != "Add":
        return ""
    a, b = added.input
    return str(a) if _is(editor, b, 3) else str(b) if _is(editor, a, 3) else ""


def _sixth_of(editor: Editor, node: onnx.NodeProto) -> str:
    """What ``node`` takes a sixth of; empty if it does something else."""
    if node.op_type == "Div":
        return str(node.input[0]) if _is(editor, node.input[1], 6) else ""
    if node.op_type != "Mul":
        return ""
    a, b = node.input
    return str(a) if _is(editor, b, 1 / 6) else str(b) if _is(editor, a, 1 / 6) else ""


def _is(editor: Editor, name: str, wanted: float) -> bool:
    value = editor.constant(name)
    return value is not None and value.size == 1 and abs(float(value.reshape(-1)[0]) - wanted) < _CLOSE


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(("Mul", "Div"), (hard_swish,))
