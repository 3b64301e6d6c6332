"""Layers that read signs, as a network trained with binary activations has them: what they are made of in ONNX.

At a step rounding decides: a sum of -1 and 1 may be exactly 0, and a factor folded into such weights makes 1e-8 of it.
So nothing is folded into such layers, here or in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from multigraft.tensors.arrays import Array

LINEAR = frozenset({"Conv", "Gemm", "MatMul"})
_SCALAR_OPERATORS_NAMES = (
    "Abs Add And Cast Ceil Clip Div Dropout Elu Equal Erf Exp Floor Greater GreaterOrEqual HardSigmoid Identity "
    "LeakyRelu Less LessOrEqual Max Min Mul Neg Not Or Pow Relu Round Selu Sigmoid Sign Softplus Softsign Sub Sum "
    "Tanh Where Xor"
)
SCALAR_OPERATORS = frozenset(_SCALAR_OPERATORS_NAMES.split())
"""Operators of which every element depends on that element alone."""
_STEPS_NAMES = "Sign Greater GreaterOrEqual Less LessOrEqual Round Floor Ceil"
_STEPS = frozenset(_STEPS_NAMES.split())
_MOVES_NAMES = (
    "Reshape Flatten Transpose Squeeze Unsqueeze MaxPool Pad Identity Dropout Slice Gather SpaceToDepth "
    "DepthToSpace Concat Split"
)
_MOVES = frozenset(_MOVES_NAMES.split())
"""What may stand between a step and the layer that reads it: their results are of the same two numbers."""
_FARTHEST = 24
_RELATIVE, _ABSOLUTE = 4e-6, 2.5e-7
"""By how much weights of one size differ: ``a - clip + clip`` with a clip to 1 leaves the rounding of 1 behind."""

Ends = Iterator[tuple[onnx.NodeProto, str]]


def moved_from(reader: onnx.NodeProto, tensor: str, writers: Mapping[str, onnx.NodeProto]) -> Ends:
    """The tensors that ``tensor`` is moved from, each with the node that reads it on the way."""
    node = writers.get(tensor)
    if node is None or node.op_type not in _MOVES:
        yield reader, tensor
        return
    for name in node.input if node.op_type == "Concat" else node.input[:1]:
        yield from moved_from(node, name, writers)


def has_steps(model: onnx.ModelProto) -> bool:
    """Whether a layer seems to read signs: a step stands before it, with arithmetic alone between."""
    writers = {o: node for node in model.graph.node for o in node.output if o}
    ends = (
        end
        for node in model.graph.node
        if node.op_type in LINEAR
        for name in node.input[:2]
        for _, end in moved_from(node, name, writers)
    )
    return any(_is_step(end, writers) for end in dict.fromkeys(ends))


def _is_step(tensor: str, writers: Mapping[str, onnx.NodeProto]) -> bool:
    waiting, seen = [tensor], set[str]()
    while waiting and len(seen) < _FARTHEST:
        name = waiting.pop(0)
        node = writers.get(name)
        if name in seen or node is None or node.op_type not in SCALAR_OPERATORS:
            continue
        if node.op_type in _STEPS:
            return True
        seen.add(name)
        waiting += node.input
    return False


def equal_sizes(weights: Array, axis: int) -> bool:
    """Whether the weights of every output channel are -a and a.

    Args:
        weights: Of a layer.
        axis: Of its output channels.
    """
    return weights.size > weights.shape[axis] and sizes_of(weights, axis) is not None


def sizes_of(weights: Array, axis: int = 0) -> Array | None:
    """The a of each output channel, [outputs], where its weights are -a and a, by rounding; None for other weights."""
    sizes = np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1))
    largest: Array = sizes.max(1)
    slack = _RELATIVE * largest + np.where(largest > 0, _ABSOLUTE, 0)
    is_same = np.isfinite(largest).all() and largest.any() and (sizes >= (largest - slack)[:, None]).all()
    return np.median(sizes, axis=1).astype(np.float32) if is_same and (largest > slack)[largest > 0].all() else None
