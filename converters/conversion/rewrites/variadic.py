"""A Sum, Mean, Max, Min or Concat of one input is that input; Max and Min do not read what never wins."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer


def of_one(writer: Writer) -> bool:
    """Pass the one input on."""
    if len(writer.node.input) != 1:
        return False
    writer("Identity", writer.node.input[0], to=writer.node.output[0])
    return True


NEVER = 1e30
"""No network computes numbers beyond: a bound out there says that there is none."""


def without_losers(writer: Writer) -> bool:
    """Max does not read a constant of minus infinity or as good as that, for which int8 has no steps; Min likewise."""
    node, editor = writer.node, writer.editor
    sign = 1 if node.op_type == "Max" else -1
    constants = {n: editor.constant(n) for n in node.input}
    kept = [n for n in node.input if (v := constants[n]) is None or v.dtype != np.float32 or (sign * v > -NEVER).any()]
    shapes = [editor.shape(n) for n in kept]
    if len(kept) == len(node.input) or not kept or any(s is None for s in shapes):
        return False
    if np.broadcast_shapes(*(s for s in shapes if s is not None)) != editor.shape(node.output[0]):
        return False
    writer(node.op_type, *kept, to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("Sum", "Mean", "Concat"), (of_one,)),
    **dict.fromkeys(("Max", "Min"), (of_one, without_losers)),
}
