"""Outputs that a network lists more than once, which nothing forbids: what follows asks for them by name."""

from __future__ import annotations

import onnx


def leave_out_repeated_outputs(model: onnx.ModelProto) -> list[str]:
    """List each output once, in place; returns the names that were listed again."""
    outputs = list(model.graph.output)
    first = {o.name: o for o in reversed(outputs)}
    if len(first) == len(outputs):
        return []
    names = [o.name for o in outputs]
    kept = [first[name] for name in dict.fromkeys(names)]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return [name for name in first if names.count(name) > 1]
