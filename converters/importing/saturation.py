"""A network that ends before the sigmoids at its end: where those are near 0, they show nothing but rounding.

onnxruntime's sigmoid of -14 is 7 % too small and that of -18 is 0: a detector that finds nothing on a frame answers by
rounding alone, and two graphs that compute the same then differ by any part of their size.
"""

from __future__ import annotations

import onnx

_SATURATING = frozenset({"Sigmoid", "Softmax", "Tanh"})
_RESHAPING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast"})


def before_saturation(model: onnx.ModelProto) -> tuple[onnx.ModelProto, frozenset[str]]:
    """A copy whose outputs are what their sigmoids read, in the outputs' names and shapes, and which outputs those are.

    An output whose sigmoid something else reads, too, stays as it is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    changed = {}
    for output in copy.graph.output:
        if (node := _saturating_at(copy.graph, output.name)) is not None:
            changed[output.name] = node
    for node in changed.values():
        node.op_type = "Identity"
        del node.attribute[:]
    return copy, frozenset(changed)


def _saturating_at(graph: onnx.GraphProto, tensor: str) -> onnx.NodeProto | None:
    """The sigmoid that nothing but the output ``tensor`` is made of, through changes of shape at most."""
    writers: dict[str, onnx.NodeProto] = {o: n for n in graph.node for o in n.output}
    readers = [i for n in graph.node for i in n.input]
    outputs = {o.name for o in graph.output} - {tensor}
    is_read = tensor in readers
    while (node := writers.get(tensor)) is not None and not is_read and tensor not in outputs:
        if node.op_type in _SATURATING:
            return node
        if node.op_type not in _RESHAPING:
            return None
        tensor = node.input[0]
        is_read = readers.count(tensor) != 1
    return None
