"""Folding a batch norm into the linear layer before it, which is exact in real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.converters.network.steps import equal_sizes

CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1}
"""Output channels of the weight; of Gemm without transB, and of ConvTranspose within a group."""


def fold_batch_norms(model: onnx.ModelProto, keeps_binary: bool = False) -> int:
    """Fold in place every BatchNormalization that alone uses a Conv, ConvTranspose or Gemm with constant weights.

    Args:
        keeps_binary: Leave layers alone whose weights are -a and a: a factor would hide that their sums are multiples
            of a, and may be exactly 0.

    Returns:
        How many were folded.
    """
    graph = model.graph
    constants = {i.name: i for i in graph.initializer}
    writers = {o: n for n in graph.node for o in n.output}
    outputs = {o.name for o in graph.output}
    uses: dict[str, int] = {}
    for name in (i for n in graph.node for i in n.input):
        uses[name] = uses.get(name, 0) + 1
    folded = []
    for norm in graph.node:
        linear = writers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if (
            linear is None
            or linear.op_type not in CHANNEL_AXIS
            or uses[norm.input[0]] != 1
            or norm.input[0] in outputs
            or not all(i in constants for i in [*linear.input[1:], *norm.input[1:5]] if i)
            or (keeps_binary and _is_binary(linear, constants))
        ):
            continue
        weight, bias = _folded(linear, norm, {k: numpy_helper.to_array(v) for k, v in constants.items()})
        names = [f"{norm.output[0]}/{part}" for part in ("weight", "bias")]
        for name, value in zip(names, (weight, bias), strict=True):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
            constants[name] = graph.initializer[-1]
        del linear.input[1:]
        linear.input.extend(names)
        linear.output[0] = norm.output[0]
        writers[norm.output[0]] = linear
        folded.append(norm)
    for norm in folded:
        graph.node.remove(norm)
    return len(folded)


def _is_binary(linear: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    weights = numpy_helper.to_array(constants[linear.input[1]])
    axis = CHANNEL_AXIS[linear.op_type]
    if linear.op_type == "Gemm":
        axis = 0 if any(a.name == "transB" and a.i for a in linear.attribute) else 1
    return linear.op_type != "ConvTranspose" and equal_sizes(weights, axis)


def _folded(
    linear: onnx.NodeProto, norm: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in [*linear.attribute, *norm.attribute]}
    gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:5])
    factor = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    weight = constants[linear.input[1]].astype(np.float64)
    bias = constants[linear.input[2]].astype(np.float64) if len(linear.input) > 2 and linear.input[2] else 0.0
    if linear.op_type == "Gemm":
        # alpha stays on the product; beta multiplies the bias once more when the node runs.
        weight = weight * (factor[:, None] if attributes.get("transB") else factor[None, :])
        scale = attributes.get("beta", 1.0)
        return weight, ((bias * scale - mean) * factor + beta) / (scale or 1.0)
    if linear.op_type == "ConvTranspose":
        groups = attributes.get("group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        per_group = factor.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
        weight = (split * per_group).reshape(weight.shape)
    else:
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight, (bias - mean) * factor + beta
