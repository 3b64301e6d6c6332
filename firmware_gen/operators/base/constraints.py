"""General constraints, which several operators have in common; an operator's own stand beside it."""

from __future__ import annotations

from multigraft.firmware_gen.operators.base.operator import Constraint
from multigraft.firmware_gen.program.program import Node
from multigraft.tflite.graph import Tensor


def is_int8(tensor: Tensor | None) -> bool:
    """An int8 tensor with one scale."""
    return tensor is not None and tensor.dtype == "int8" and tensor.quant is not None and tensor.quant.per_tensor


def int8(node: Node) -> bool:
    """The first input and the outputs have to be int8 with one scale each."""
    return is_int8(node.input(0)) and all(is_int8(t) for t in node.outputs)


def image(node: Node) -> bool:
    """The first input and the outputs have to be of four dimensions with batch 1."""
    tensors = (node.input(0), *node.outputs)
    return all(len(t.shape) == 4 and t.shape[0] == 1 for t in tensors)


def same_scale(node: Node) -> bool:
    """Input and output have to have the same scale and zero point."""
    return node.input(0).quant == node.outputs[0].quant


def constant_weights(node: Node) -> bool:
    """The weights have to be constant int8 with zero point 0."""
    weights = node.input(1)
    if weights.data is None or weights.dtype != "int8" or weights.quant is None:
        return False
    return not any(weights.quant.zero_points)


def constant_bias_at(position: int) -> Constraint:
    """The constraint on the bias of operators that have it as the input at ``position``."""

    def constant_bias(node: Node) -> bool:
        """The bias, if there is one, has to be constant int32."""
        bias = node.inputs[position] if len(node.inputs) > position else None
        return bias is None or (bias.data is not None and bias.dtype == "int32")

    return constant_bias


def fused_activation(node: Node) -> bool:
    """The fused activation has to be none, RELU, RELU6 or RELU_N1_TO_1."""
    return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


GENERAL: dict[str, Constraint] = {
    constraint.__name__: constraint
    for constraint in (int8, image, same_scale, constant_weights, constant_bias_at(2), fused_activation)
}
"""Name to constraint, in the order in which operators check them."""
