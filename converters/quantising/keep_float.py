"""From what a user names (a layer, a tensor, a pattern) to the operators that stay in float."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import onnx

from multigraft.errors import UsageError
from multigraft.tflite.graph import Graph


def operators_to_keep(graph: Graph, model: onnx.ModelProto, patterns: Sequence[str]) -> frozenset[str]:
    """Tensors written by the operators that ``patterns`` name.

    A pattern is a regular expression that has to match the whole name of an ONNX node, an ONNX tensor, or a tensor of
    ``graph``; an operator kind of ONNX or TFLite (``Gemm``, ``FULLY_CONNECTED``) means all of that kind. An ONNX node
    that was fused into a later one stands for that one.

    Raises:
        UsageError: A pattern is no regular expression, or matches nothing.
    """
    writers = {o: n for n in model.graph.node for o in n.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    computed = {n: op for op in graph.ops for n in op.outputs}
    kept: set[str] = set()
    for pattern in patterns:
        try:
            matches = re.compile(pattern).fullmatch
        except re.error as error:
            raise UsageError(f"{pattern!r} is no regular expression ({error})", "escape special characters") from None
        direct = {n for n, op in computed.items() if matches(n) or matches(op.label)}
        named = [o for o, n in writers.items() if matches(o) or matches(n.name) or matches(n.op_type)]
        hit = direct | {t for o in named if (t := _materialised(o, computed.keys(), readers)) is not None}
        if not hit:
            raise UsageError(f"keep_float: {pattern!r} matches no layer", "name an ONNX node, tensor or operator kind")
        kept |= hit
    return frozenset(kept)


def _materialised(tensor: str, computed: Collection[str], readers: dict[str, list[onnx.NodeProto]]) -> str | None:
    """``tensor``, or the first after it, along single readers, that the converted graph computes."""
    seen: set[str] = set()
    while tensor not in seen:
        if tensor in computed:
            return tensor
        seen.add(tensor)
        following = readers.get(tensor, [])
        if len(following) != 1:
            return None
        tensor = following[0].output[0]
    return None
