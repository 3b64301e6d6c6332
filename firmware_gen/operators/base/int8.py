"""Constraints that most operators share."""

from __future__ import annotations

from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node


def is_int8(tensor: object) -> bool:
    """An int8 tensor with one scale."""
    quant = getattr(tensor, "quant", None)
    return getattr(tensor, "dtype", "") == "int8" and quant is not None and quant.per_tensor


class Int8(Operator):
    """An operator whose first input and whose outputs are int8."""

    def constraint_int8(self, node: Node) -> bool:
        """Inputs and outputs have to be int8 with one scale each."""
        return is_int8(node.input(0)) and all(is_int8(t) for t in node.outputs)


class Int8Batch1(Int8):
    """An operator on one image."""

    def constraint_batch(self, node: Node) -> bool:
        """The tensors have to be of four dimensions with batch 1."""
        tensors = (node.input(0), *node.outputs)
        return all(len(t.shape) == 4 and t.shape[0] == 1 for t in tensors)


class Weighted(Int8):
    """An operator with int8 weights as second operand, an optional int32 bias as third, and a fused activation."""

    def constraint_weights(self, node: Node) -> bool:
        """The weights have to be constant int8 with zero point 0."""
        weights = node.input(1)
        good = weights.data is not None and weights.dtype == "int8" and weights.quant is not None
        return good and not any(weights.quant.zero_points if weights.quant else ())

    def constraint_bias(self, node: Node) -> bool:
        """The bias, if there is one, has to be constant int32."""
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        return bias is None or (bias.data is not None and bias.dtype == "int32")

    def constraint_activation(self, node: Node) -> bool:
        """The fused activation has to be none, RELU, RELU6 or RELU_N1_TO_1."""
        return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
