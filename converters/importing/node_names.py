"""How messages name nodes."""

from __future__ import annotations

import onnx


def label(node: onnx.NodeProto) -> str:
    """How messages name a node: operator and name, or what it writes if it has none."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"
