"""Bounds that nothing passes, as JAX and exporters of limits write them: ``max(x, -inf)`` is ``x``."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

_NEUTRAL = {"Max": -1.0, "Min": 1.0}
"""Operator to the sign of the float32 number, infinite or the largest there is, that changes no result."""


def leave_out_neutral_bounds(graph: onnx.GraphProto) -> None:
    """Let readers of such a node read what is bounded, in place; a node that writes an output of the graph stays."""
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer if np.prod(i.dims, dtype=np.int64) == 1}
    outputs = {o.name for o in graph.output}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [instead.get(n, n) for n in node.input]
        bounded = [n for n in node.input if not _is_neutral(constants.get(n), _NEUTRAL.get(node.op_type))]
        if node.op_type in _NEUTRAL and len(bounded) == 1 and node.output[0] not in outputs:
            instead[node.output[0]] = bounded[0]
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if instead:
        del graph.node[:]
        graph.node.extend(kept)


def _is_neutral(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None, sign: float | None) -> bool:
    if value is None or sign is None or value.dtype != np.float32 or value.ndim > 1:
        return False
    return bool(sign * float(value.reshape(-1)[0]) >= np.finfo(np.float32).max)
