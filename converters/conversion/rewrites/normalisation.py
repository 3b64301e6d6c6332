"""Hardmax and LpNormalization along any axis, in reductions that TFLite has."""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_LEAST = 1e-7
"""Of a norm that is divided by; onnx2tf takes what is much smaller for zero."""


def hardmax(writer: Writer) -> bool:
    """Hardmax is one where ArgMax points, and zero elsewhere."""
    (x,), axis = writer.node.input, attributes(writer.node).get("axis", -1)
    shape = writer.editor.shape(x)
    if shape is None or writer.editor.opset < 13:
        return False
    index = writer("ArgMax", x, axis=axis, keepdims=0)
    depth, values = writer.ints("depth", [shape[axis]]), writer.constant("values", [0.0, 1.0])
    writer("OneHot", index, depth, values, to=writer.node.output[0], axis=axis)
    return True


def lp_normalization(writer: Writer) -> bool:
    """LpNormalization divides by the norm; where that is zero the result is zero."""
    (x,), given = writer.node.input, attributes(writer.node)
    kind = {1: "ReduceL1", 2: "ReduceL2"}.get(given.get("p", 2))
    shape = writer.editor.shape(x)
    if kind is None or shape is None:
        return False
    axes = [given.get("axis", -1) % len(shape)]
    # The axes of a reduction became an input in operator set 18.
    if writer.editor.opset < 18:
        norm = writer(kind, x, axes=axes, keepdims=1)
    else:
        norm = writer(kind, x, writer.ints("axes", axes), keepdims=1)
    writer("Div", x, writer("Max", norm, writer.constant("least", _LEAST)), to=writer.node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"Hardmax": (hardmax,), "LpNormalization": (lp_normalization,)}
