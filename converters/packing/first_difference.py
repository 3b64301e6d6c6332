"""Where a converted network first computes something else than the original: tensor, node and by how much.

A tensor of the ONNX graph is reproduced if some tensor of the converted graph equals it, in any layout. One that a
converter fused away is not, but something behind it is. So the first difference is the first tensor, in the order of
the graph, that is not reproduced and has nothing reproduced behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, fit, relative_error, to_tflite_layout
from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.conversion.transposes import Permutation
from multigraft.tflite.graph import Graph

_LAYOUTS: dict[int, tuple[Permutation, ...]] = {4: ((0, 2, 3, 1), (0, 1, 2, 3)), 3: ((0, 1, 2), (0, 2, 1))}

_ACTIVATIONS = frozenset({"Relu", "Clip", "Tanh"})
"""What TFLite's operators hold within themselves."""


@dataclass(frozen=True)
class Difference:
    """The first tensor that differs.

    Attributes:
        tensor: Its name in the ONNX graph.
        operator: Of the node that writes it.
        node: Name of that node; empty where it has none.
        error: Largest difference of the nearest tensor of the converted graph, over the largest magnitude of this one;
            None where the converted graph holds no tensor of its size.
        absolute: The same in the unit of the tensor.
    """

    tensor: str
    operator: str
    node: str
    error: float | None
    absolute: float | None

    def __str__(self) -> str:
        node = f"{self.operator} {self.node!r}" if self.node else self.operator
        how = "has no counterpart" if self.error is None else f"differs by {self.error:.2g} of its range"
        return f"the first that differs is {self.tensor!r} of {node}, which {how}"


def first_difference(
    graph: Graph, layouts: dict[str, Permutation], model: onnx.ModelProto, feeds: Sequence[Arrays]
) -> Difference | None:
    """The first tensor of ``model`` that ``graph`` computes wrongly, or None where every output is reproduced.

    Args:
        graph: Float32, with inputs named as in ONNX.
        layouts: ONNX input to the permutation that takes its value to the .tflite value.
        model: ONNX, nodes in order.
        feeds: Values of the ONNX inputs (NCHW).
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    infos = (*inferred.graph.value_info, *inferred.graph.output)
    floats = {v.name for v in infos if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    names = [o for n in model.graph.node for o in n.output if o in floats]
    taps = list(dict.fromkeys(o for op in graph.ops for o in op.outputs if graph.tensors[o].dtype == "float32"))
    if not names or not taps:
        return None
    runner, tapped = OnnxRunner(inferred, names), Taps(graph, taps)
    expected = [runner(feed) for feed in feeds]
    given = [tapped(to_tflite_layout(feed, layouts)) for feed in feeds]
    reproduced = {n for n in names if any(_equal(expected, given, n, t) for t in taps)}
    writers = {o: n for n in model.graph.node for o in n.output}
    harmless = _before(reproduced, writers)
    for name in names:
        if name not in harmless:
            measured = (name, *_fused_into(name, model))
            errors = [e for n in measured for t in taps if (e := _error(expected, given, n, t)) is not None]
            relative, absolute = min(errors, default=(None, None))
            return Difference(name, writers[name].op_type, writers[name].name, relative, absolute)
    return None


def _fused_into(tensor: str, model: onnx.ModelProto) -> list[str]:
    """What the one activation behind ``tensor`` gives: a converter may compute that alone."""
    readers = [n for n in model.graph.node if tensor in n.input]
    return [readers[0].output[0]] if len(readers) == 1 and readers[0].op_type in _ACTIVATIONS else []


def _before(tensors: set[str], writers: dict[str, onnx.NodeProto]) -> set[str]:
    """``tensors`` and everything that they are computed from."""
    found, left = set(tensors), list(tensors)
    while left:
        node = writers.get(left.pop())
        for name in node.input if node is not None else ():
            if name not in found:
                found.add(name)
                left.append(name)
    return found


def _equal(expected: Sequence[Arrays], given: Sequence[Arrays], name: str, tensor: str) -> bool:
    if expected[0][name].size != given[0][tensor].size:
        return False
    return fit([g[tensor] for g in given], [e[name] for e in expected], tensor) is not None


def _error(expected: Sequence[Arrays], given: Sequence[Arrays], name: str, tensor: str) -> tuple[float, float] | None:
    """The largest relative and absolute error in the layout that fits best; None where none fits."""
    errors = []
    for permutation in _LAYOUTS.get(expected[0][name].ndim, (tuple(range(expected[0][name].ndim)),)):
        pairs = [(g[tensor], e[name].transpose(permutation)) for e, g in zip(expected, given, strict=True)]
        if pairs[0][0].shape == pairs[0][1].shape:
            relative = max(relative_error(value, reference) for value, reference in pairs)
            absolute = max(float(np.abs(value - reference).max(initial=0.0)) for value, reference in pairs)
            errors.append((relative, absolute))
    return min((e for e in errors if np.isfinite(e[0])), default=None)
