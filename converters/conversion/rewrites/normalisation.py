"""Hardmax and LpNormalization along any axis, and batch norms in training mode, in reductions that TFLite has."""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_LEAST = 1e-30
"""Is added to a norm that is divided by. The maximum of both would not do: onnx2tf makes a Relu of that."""


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
    writer("Div", x, writer("Add", norm, writer.constant("least", _LEAST)), to=writer.node.output[0])
    return True


def batch_norm(writer: Writer) -> bool:
    """BatchNormalization in training mode takes mean and variance from its input, and moves the running ones."""
    node, given = writer.node, attributes(writer.node)
    x, scale, bias, *running = node.input
    shape = writer.editor.shape(x)
    if not given.get("training_mode") or shape is None or writer.editor.opset < 14:
        return False
    axes = [a for a in range(len(shape)) if a != 1]

    def mean_of(value: str) -> str:
        if writer.editor.opset < 18:
            return writer("ReduceMean", value, axes=axes, keepdims=1)
        return writer("ReduceMean", value, writer.ints("axes", axes), keepdims=1)

    column = writer.ints("column", [1, -1, *[1] * (len(shape) - 2)])
    mean = mean_of(x)
    centred = writer("Sub", x, mean)
    variance = mean_of(writer("Mul", centred, centred))
    spread = writer("Sqrt", writer("Add", variance, writer.constant("epsilon", given.get("epsilon", 1e-5))))
    scaled = writer("Mul", writer("Div", centred, spread), writer("Reshape", scale, column))
    writer("Add", scaled, writer("Reshape", bias, column), to=node.output[0])
    momentum, channels = given.get("momentum", 0.9), writer.ints("channels", [-1])
    for name, old, new in zip(node.output[1:], running, (mean, variance), strict=False):
        if name:
            kept = writer("Mul", old, writer.constant("momentum", momentum))
            moved = writer("Mul", writer("Reshape", new, channels), writer.constant("rest", 1 - momentum))
            writer("Add", kept, moved, to=name)
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    "Hardmax": (hardmax,),
    "LpNormalization": (lp_normalization,),
    "BatchNormalization": (batch_norm,),
}
