"""The inputs that somebody has to feed: below version 4 of the format, stored tensors are listed as inputs as well."""

from __future__ import annotations

import onnx


def fed_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs of ``graph`` that are no stored tensors."""
    stored = {i.name for i in graph.initializer}
    return [i for i in graph.input if i.name not in stored]
