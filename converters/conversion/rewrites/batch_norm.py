"""Batch norms of images that no linear layer takes in: behind a concatenation, a pooling, or before an activation."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes


def batch_norm(writer: Writer) -> bool:
    """BatchNormalization of constants is a depthwise convolution of 1 x 1.

    onnx2tf multiplies and adds instead, along the wrong axis where an image has as many columns as channels.
    """
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    parameters = [writer.editor.constant(name) for name in node.input[1:]]
    if given.get("training_mode") or shape is None or len(shape) != 4 or any(p is None for p in parameters):
        return False
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    factor = gamma / np.sqrt(variance + given.get("epsilon", 1e-5))
    weight = writer.constant("weight", factor.reshape(-1, 1, 1, 1))
    bias = writer.constant("bias", beta - mean * factor)
    writer("Conv", node.input[0], weight, bias, to=node.output[0], group=shape[1], kernel_shape=[1, 1])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"BatchNormalization": (batch_norm,)}
