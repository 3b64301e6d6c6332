"""General constraints, which several operators have in common; an operator's own stand beside it."""

from __future__ import annotations

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.operators.base.operator import Constraint
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tflite.graph import Tensor


def is_int8(tensor: Tensor | None) -> bool:
    """An int8 tensor with one scale."""
    return _has_one_scale(tensor, "int8")


def is_bytes(tensor: Tensor | None) -> bool:
    """An int8 or uint8 tensor with one scale."""
    return _has_one_scale(tensor, "int8", "uint8")


def _has_one_scale(tensor: Tensor | None, *dtypes: str) -> bool:
    return tensor is not None and tensor.dtype in dtypes and tensor.quant is not None and tensor.quant.per_tensor


def int8(node: Node) -> bool:
    """The first input and the outputs have to be int8 with one scale each."""
    return is_int8(node.input(0)) and all(is_int8(t) for t in node.outputs)


def is_words(tensor: Tensor | None) -> bool:
    """Words of 32 channels of a binary network."""
    return tensor is not None and tensor.dtype == "int32" and tensor.quant is None and len(tensor.shape) > 0


def int8_or_words(node: Node) -> bool:
    """The first input and the outputs have to be int8 with one scale each, or words of a binary network."""
    source = node.input(0)
    words = source.data is None and all(is_words(t) for t in (source, *node.outputs))
    return words or int8(node)


def two_int8(node: Node) -> bool:
    """Both inputs have to be int8 with one scale each, and at most one of them a constant."""
    both = (node.input(0), node.input(1))
    return all(is_int8(t) for t in both) and any(t.data is None for t in both)


def image(node: Node) -> bool:
    """The first input and the outputs have to be of four dimensions with batch 1."""
    tensors = (node.input(0), *node.outputs)
    return all(len(t.shape) == 4 and t.shape[0] == 1 for t in tensors)


def same_scale(node: Node) -> bool:
    """Input and output have to have the same scale and zero point."""
    return node.input(0).quant == node.outputs[0].quant


def same_shape(node: Node) -> bool:
    """Input and output have to have the same shape."""
    return node.input(0).shape == node.outputs[0].shape


def constant_weights(node: Node) -> bool:
    """The weights have to be constant int8 or int4 with zero point 0."""
    weights = node.input(1)
    if weights.data is None or weights.dtype not in ("int8", "int4") or weights.quant is None:
        return False
    return not any(weights.quant.zero_points)


def scale_per_channel(node: Node) -> bool:
    """The weights have to have one scale, or one per output channel."""
    return len(quant(node.input(1)).scales) in (1, *node.outputs[0].shape[-1:])


def constant_bias_at(position: int) -> Constraint:
    """The constraint on the bias of operators that have it as the input at ``position``."""

    def constant_bias(node: Node) -> bool:
        """The bias, if there is one, has to be constant int32, one number per output channel."""
        bias = node.inputs[position] if len(node.inputs) > position else None
        if bias is None:
            return True
        return bias.data is not None and bias.dtype == "int32" and (bias.data.size,) == node.outputs[0].shape[-1:]

    return constant_bias


def fused_activation(node: Node) -> bool:
    """The fused activation has to be none, RELU, RELU6 or RELU_N1_TO_1."""
    return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def window_fits(node: Node) -> bool:
    """The output's height and width have to be those that kernel, strides, dilations and padding give."""
    options = node.op.options
    if node.name.endswith("CONV_2D"):
        weights = node.input(1).shape
        if len(weights) != 4:
            return False
        kernel = weights[1:3]
    else:
        kernel = integer(options.get("filter_height"), 1), integer(options.get("filter_width"), 1)
    strides = integer(options.get("stride_h"), 1), integer(options.get("stride_w"), 1)
    dilations = integer(options.get("dilation_h_factor"), 1), integer(options.get("dilation_w_factor"), 1)
    if min(*kernel, *strides, *dilations) < 1 or options.get("padding", "SAME") not in ("SAME", "VALID"):
        return False
    same = options.get("padding", "SAME") == "SAME"
    sides = zip(node.input(0).shape[1:3], node.outputs[0].shape[1:3], kernel, strides, dilations, strict=True)
    return all(
        out == (-(-size // stride) if same else (size - (taps - 1) * dilation - 1) // stride + 1)
        for size, out, taps, stride, dilation in sides
    )


GENERAL: dict[str, Constraint] = {
    constraint.__name__: constraint
    for constraint in (
        int8,
        int8_or_words,
        image,
        same_scale,
        same_shape,
        constant_weights,
        scale_per_channel,
        constant_bias_at(2),
        fused_activation,
        window_fits,
    )
}
"""Name to constraint, in the order in which operators check them."""
