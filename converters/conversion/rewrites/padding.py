"""``auto_pad=SAME_LOWER``, where the odd element of padding goes first, becomes padding in numbers.

TFLite's SAME puts the odd element last, as SAME_UPPER does. LpPool is written out for both: it is rewritten later.
"""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")


def same_lower(writer: Writer) -> bool:
    """Write the padding of a windowed operator out."""
    node, given = writer.node, attributes(writer.node)
    mode = given.get("auto_pad", "NOTSET")
    if mode != "SAME_LOWER" and not (mode == "SAME_UPPER" and node.op_type == "LpPool"):
        return False
    shape, kernel = writer.editor.shape(node.input[0]), given.get("kernel_shape")
    if kernel is None and len(node.input) > 1 and (weight := writer.editor.shape(node.input[1])):
        kernel = weight[2:]
    if shape is None or kernel is None or "output_shape" in given:
        return False
    rank = len(shape) - 2
    strides, dilations = (given.get(name, [1] * rank) for name in ("strides", "dilations"))
    extra = given.get("output_padding", [0] * rank)
    totals = []
    for size, k, stride, dilation, more in zip(shape[2:], kernel, strides, dilations, extra, strict=True):
        covered = (k - 1) * dilation + 1
        if node.op_type == "ConvTranspose":
            totals.append(max(0, covered + more - stride))
        else:
            totals.append(max(0, (-(-size // stride) - 1) * stride + covered - size))
    first = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in totals]
    kept = {k: v for k, v in given.items() if k not in ("auto_pad", "pads", "ceil_mode", "kernel_shape")}
    pads = [*first, *(t - f for t, f in zip(totals, first, strict=True))]
    writer(node.op_type, *node.input, to=node.output[0], kernel_shape=list(kernel), pads=pads, **kept)
    return len(node.output) == 1


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(WINDOWED, (same_lower,))
