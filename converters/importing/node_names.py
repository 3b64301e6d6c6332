"""How messages name nodes, and what an error says in a line."""

from __future__ import annotations

import onnx


def one_line(error: BaseException) -> str:
    """The first non-empty line of an error's text without its full stop, for use inside a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def label(node: onnx.NodeProto) -> str:
    """How messages name a node: operator and name, or what it writes if it has none."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"
