"""Which operator a converter stumbles over that does not say so: the last one of the shortest part that fails."""

from __future__ import annotations

from collections.abc import Callable

import onnx


def failing_node(model: onnx.ModelProto, fails: Callable[[onnx.ModelProto], bool]) -> onnx.NodeProto | None:
    """The node without which the nodes before it convert.

    Args:
        model: What fails; its nodes in an order in which they can run.
        fails: Whether a part of it, from the inputs on, does.

    Returns:
        None where the parts do not tell: onnx cannot work out what they give.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:
        return None
    values = {v.name: v for v in (*inferred.graph.value_info, *model.graph.output)}
    sound, failing = 0, len(model.graph.node)
    while failing - sound > 1:
        middle = (sound + failing) // 2
        part = _part(model, middle, values)
        if part is None:
            return None
        sound, failing = (sound, middle) if fails(part) else (middle, failing)
    return model.graph.node[failing - 1] if failing else None


def _part(model: onnx.ModelProto, count: int, values: dict[str, onnx.ValueInfoProto]) -> onnx.ModelProto | None:
    """The first ``count`` nodes, with whatever nothing among them reads as outputs."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    del graph.node[count:]
    read = {name for node in graph.node for name in node.input}
    wanted = {o.name for o in model.graph.output}
    ends = [name for node in graph.node for name in node.output if name and (name not in read or name in wanted)]
    if not ends or any(name not in values for name in ends):
        return None
    del graph.output[:]
    graph.output.extend(values[name] for name in ends)
    constants = [i for i in graph.initializer if i.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return part
