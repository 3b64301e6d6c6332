"""Cross-layer equalisation: channels of very different spans are brought nearer to each other, nothing else changes.

Where a linear operator writes a tensor that other linear operators read, through a rectifier at most, channel ``i`` can
be divided by any ``s[i] > 0`` if the weights that read it are multiplied by it (Nagel et al., arXiv 1906.04721, section
4.1). An int8 tensor has one scale, so a channel of a hundredth of the largest span has less than two bits.

Weights have a scale per output channel here. So what a channel is divided by costs the operator that writes it nothing,
and a depthwise reader neither: its channels take the whole span. Any other reader holds all input channels in one
scale: there ``s`` is the geometric mean of both demands, as in the paper, with spans measured on frames in the place of
the first layer's weights. Factors are powers of two, so the float network stays equal to the last bit.

A rectifier that ends at 6 does not scale with its input. A channel that reaches its end stays as it is; another is made
larger as far as twice its span stays below the end, so that the float network changes on frames only whose values are
more than twice those seen, which int8 cuts off anyway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from multigraft.converters.quantising.channels import Channel, Vector
from multigraft.converters.quantising.linear_operators import (
    LinearOperator,
    along,
    constant,
    linear_operator,
    linear_operators,
    with_constants,
)
from multigraft.tflite.graph import Graph, Tensor

LEAST_RATIO = 4.0
"""Channels within such a factor of each other are left alone: they lose less than two bits."""

GREATEST_FACTOR = 2.0**20

_HOMOGENEOUS = frozenset(
    {
        "RELU",
        "LEAKY_RELU",
        "PRELU",
        "PAD",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "MEAN",
        "RESHAPE",
        "SQUEEZE",
        "RESIZE_NEAREST_NEIGHBOR",
        "RESIZE_BILINEAR",
    }
)
"""A channel of their result is as many times larger as that of what they read, if the channels stay the last axis."""

_PASSING = ("NONE", "RELU", None)
_LIMITS = {"RELU6": 6.0}
"""Rectifiers that end, and where."""

_REACHED = 0.99
"""Of a limit: a channel that comes so near is cut off by it on other frames."""

_HEADROOM = 2.0


@dataclass(frozen=True)
class Joint:
    """A tensor whose channels may be rescaled.

    Attributes:
        writer: What computes it.
        readers: All that multiply it by weights.
        limit: Where its rectifier ends, or None.
    """

    writer: LinearOperator
    readers: tuple[LinearOperator, ...]
    limit: float | None = None

    @property
    def tensor(self) -> str:
        """Its name."""
        return self.writer.result


def joints(graph: Graph, fixed: Collection[str]) -> list[Joint]:
    """All tensors whose channels may be rescaled, in running order.

    Args:
        graph: Float32.
        fixed: Tensors that have to stay what they are: boundaries, and those whose ranges are given.
    """
    used = [n for op in graph.ops for n in set(op.inputs)]
    own = {n for n in used if used.count(n) == 1}
    found = []
    for writer in linear_operators(graph):
        readers = _readers(graph, writer.result, {*fixed, *graph.outputs}, _channels(writer, graph))
        activation = writer.op.options.get("fused_activation_function")
        if readers and (activation in _PASSING or activation in _LIMITS):
            constants = [n for o in (writer, *readers) for n in (o.weights, o.bias) if n]
            if own.issuperset(constants):
                found.append(Joint(writer, tuple(readers), _LIMITS.get(str(activation))))
    return found


def factors(graph: Graph, joint: Joint, spans: Vector) -> Vector:
    """What the channels of ``joint`` are to be divided by: powers of two, all 1 where that would bring nothing.

    Args:
        graph: Float32.
        joint: One of its joints.
        spans: Largest magnitude per channel on frames.
    """
    demand = np.max([_input_spans(graph, r, spans.size) for r in joint.readers], axis=0)
    live = spans > 0
    if not live.any():
        return np.ones(spans.size)
    by_span = spans / spans.max()
    balanced = np.sqrt(np.where(live, by_span, 1) / np.where(demand > 0, demand, 1))
    wanted = np.where(live, np.where(demand > 0, balanced, by_span), 1)
    # The tensor's own range stays.
    wanted *= (by_span / wanted).max()
    exponents = np.rint(np.log2(wanted.clip(1 / GREATEST_FACTOR, GREATEST_FACTOR)))
    result = np.where(live, 2.0**exponents, 1.0)
    if joint.limit is not None:
        least = np.exp2(np.ceil(np.log2(np.where(live, _HEADROOM * spans / joint.limit, 1.0))))
        result = np.where(spans < _REACHED * joint.limit, np.maximum(result, least).clip(None, 1.0), 1.0)
    return result if result[live].max() / result[live].min() >= LEAST_RATIO else np.ones(spans.size)


def equalised(graph: Graph, fixed: Collection[str], channels: Mapping[str, Channel]) -> tuple[Graph, tuple[str, ...]]:
    """``graph`` with its joints rescaled, and the tensors that were.

    Args:
        graph: Float32.
        fixed: As in :func:`joints`.
        channels: Spans on frames, by tensor.
    """
    done = []
    for joint in joints(graph, fixed):
        if joint.tensor not in channels:
            continue
        divisors = factors(graph, joint, channels[joint.tensor].span)
        if (divisors != 1).any():
            graph = rescaled(graph, joint, divisors)
            done.append(joint.tensor)
    return graph, tuple(done)


def rescaled(graph: Graph, joint: Joint, divisors: Vector) -> Graph:
    """``graph`` with the channels of ``joint`` divided by ``divisors`` and the weights that read them multiplied."""
    producers = graph.producers()
    writer = linear_operator(graph, producers[joint.tensor])
    assert writer is not None
    graph = _scaled(graph, writer, writer.weights, along(1 / divisors, writer.axis, len(_shape(graph, writer))))
    if writer.bias:
        graph = _scaled(graph, writer, writer.bias, 1 / divisors)
    for reader in joint.readers:
        graph = _scaled(graph, reader, reader.weights, _for_inputs(graph, reader, divisors))
    return graph


def _scaled(graph: Graph, linear: LinearOperator, name: str, by: Vector) -> Graph:
    op = graph.producers()[linear.result]
    tensor = graph.tensors[name]
    data = (constant(graph, name).astype(np.float64) * by).astype(np.float32).reshape(tensor.shape)
    changed: Tensor = dataclasses.replace(tensor, data=data)
    return with_constants(graph, op, [(op.inputs.index(name), changed)])[0]


def _shape(graph: Graph, linear: LinearOperator) -> tuple[int, ...]:
    return graph.tensors[linear.weights].shape


def _channels(linear: LinearOperator, graph: Graph) -> int:
    return _shape(graph, linear)[linear.axis]


def _readers(graph: Graph, tensor: str, fixed: Collection[str], channels: int) -> list[LinearOperator]:
    """All linear operators that read ``tensor``, through homogeneous ones; none if anything else does."""
    if tensor in fixed or graph.tensors[tensor].shape[-1:] != (channels,):
        return []
    found: list[LinearOperator] = []
    for op in graph.consumers(tensor):
        linear = linear_operator(graph, op)
        if linear is not None and linear.source == tensor:
            if _inputs(graph, linear) != channels:
                return []
            found.append(linear)
            continue
        passes = op.name in _HOMOGENEOUS and op.options.get("fused_activation_function") in _PASSING
        further = _readers(graph, op.outputs[0], fixed, channels) if passes and op.inputs[0] == tensor else []
        if not further:
            return []
        found += further
    return found


def _inputs(graph: Graph, linear: LinearOperator) -> int:
    shape = _shape(graph, linear)
    if linear.op.name == "DEPTHWISE_CONV_2D":
        return graph.tensors[linear.source].shape[-1]
    return shape[-1]


def _for_inputs(graph: Graph, reader: LinearOperator, values: Vector) -> Vector:
    """``values`` per input channel, shaped to multiply the weights of ``reader``."""
    shape = _shape(graph, reader)
    return along(np.repeat(values, shape[-1] // values.size), len(shape) - 1, len(shape))


def _input_spans(graph: Graph, reader: LinearOperator, channels: int) -> Vector:
    """Per input channel the largest weight beside the largest of its output channel; zeros where each has its own."""
    if reader.op.name == "DEPTHWISE_CONV_2D":
        return np.zeros(channels)
    weights = np.abs(constant(graph, reader.weights).astype(np.float64))
    rest = tuple(i for i in range(weights.ndim) if i != reader.axis)
    largest = weights.max(axis=rest, keepdims=True)
    beside = weights / np.where(largest > 0, largest, 1)
    return np.asarray(beside.reshape(-1, channels).max(0), np.float64)
