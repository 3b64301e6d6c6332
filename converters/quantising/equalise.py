"""Cross-layer equalisation: channels of very different spans are brought nearer to each other, nothing else changes.

Where a linear operator writes a tensor that other linear operators read, through a rectifier at most, channel ``i`` can
be divided by any ``s[i] > 0`` if the weights that read it are multiplied by it (Nagel et al., arXiv 1906.04721, section
4.1). An int8 tensor has one scale, so a channel of a hundredth of the largest span has less than two bits. Where
tensors are added up, as on a residual path, what goes into the sums and comes out of them is divided alike.

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
from multigraft.tflite.graph import Graph, Op, Tensor

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
    """Tensors whose channels may be rescaled, all alike.

    Attributes:
        writers: What computes them; several where they are added up.
        readers: All that multiply them by weights.
        sums: Tensors that hold sums of them.
        limit: Where the rectifier of a lone writer ends, or None.
    """

    writers: tuple[LinearOperator, ...]
    readers: tuple[LinearOperator, ...]
    sums: tuple[str, ...] = ()
    limit: float | None = None

    @property
    def tensor(self) -> str:
        """Name of the first."""
        return self.writers[0].result

    @property
    def tensors(self) -> tuple[str, ...]:
        """All of them, but those that operators only pass on."""
        return (*(w.result for w in self.writers), *self.sums)


def joints(graph: Graph, fixed: Collection[str]) -> list[Joint]:
    """All tensors whose channels may be rescaled, in running order.

    Args:
        graph: Float32.
        fixed: Tensors that have to stay what they are: boundaries, and those whose ranges are given.
    """
    used = [n for op in graph.ops for n in set(op.inputs)]
    own = {n for n in used if used.count(n) == 1}
    found: list[Joint] = []
    seen: set[str] = set()
    for writer in linear_operators(graph):
        if writer.result in seen:
            continue
        group = _Group(graph, {*fixed, *graph.outputs}, _channels(writer, graph))
        if not group.takes(writer.result):
            continue
        joint = group.joint()
        seen.update(joint.tensors)
        constants = [n for o in (*joint.writers, *joint.readers) for n in (o.weights, o.bias) if n]
        if joint.readers and own.issuperset(constants):
            found.append(joint)
    return found


class _Group:
    """Grows from one tensor over all that have to be rescaled with it.

    Args:
        graph: Float32.
        fixed: Tensors that stay what they are.
        channels: Of all its tensors, along their last axis.
    """

    def __init__(self, graph: Graph, fixed: Collection[str], channels: int) -> None:
        self._graph, self._fixed, self._channels = graph, fixed, channels
        self._producers = graph.producers()
        self._members: dict[str, None] = {}
        self._writers: dict[str, LinearOperator] = {}
        self._readers: dict[str, LinearOperator] = {}
        self._sums: dict[str, None] = {}

    def takes(self, tensor: str) -> bool:
        """Whether ``tensor`` and all that it brings with it can be rescaled."""
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            if name in self._members:
                continue
            self._members[name] = None
            if name in self._fixed or self._graph.tensors[name].shape[-1:] != (self._channels,):
                return False
            before, after = self._written(name), self._read(name)
            if before is None or after is None:
                return False
            waiting += [*before, *after]
        limits = [w for w in self._writers.values() if _activation(w.op) in _LIMITS]
        return not limits or len(self._writers) == 1

    def joint(self) -> Joint:
        order = {id(op): i for i, op in enumerate(self._graph.ops)}
        writers = sorted(self._writers.values(), key=lambda w: order[id(w.op)])
        readers = sorted(self._readers.values(), key=lambda r: order[id(r.op)])
        return Joint(tuple(writers), tuple(readers), tuple(self._sums), _LIMITS.get(str(_activation(writers[0].op))))

    def _written(self, name: str) -> list[str] | None:
        """The tensors that ``name`` is made of; None if what makes it cannot be rescaled."""
        op = self._producers.get(name)
        linear = linear_operator(self._graph, op) if op is not None else None
        if op is None:
            return None
        if linear is not None:
            self._writers[name] = linear
            return [] if _activation(op) in (*_PASSING, *_LIMITS) else None
        return self._through(op)

    def _read(self, name: str) -> list[str] | None:
        """The tensors made of ``name``; None if something that cannot be rescaled reads it."""
        made: list[str] = []
        for op in self._graph.consumers(name):
            linear = linear_operator(self._graph, op)
            if linear is not None and linear.source == name:
                if _inputs(self._graph, linear) != self._channels:
                    return None
                self._readers[linear.result] = linear
            elif self._through(op) is None:
                return None
            else:
                made.append(op.outputs[0])
        return made

    def _through(self, op: Op) -> list[str] | None:
        """What ``op`` reads if its result is rescaled as that is."""
        if _activation(op) not in _PASSING:
            return None
        if op.name in _HOMOGENEOUS:
            return [op.inputs[0]]
        shapes = {self._graph.tensors[n].shape for n in (*op.inputs, *op.outputs)}
        if op.name != "ADD" or len(shapes) != 1 or any(self._graph.constant(n) is not None for n in op.inputs):
            return None
        self._sums[op.outputs[0]] = None
        return list(op.inputs)


def _activation(op: Op) -> object:
    return op.options.get("fused_activation_function")


def factors(graph: Graph, joint: Joint, *spans: Vector) -> Vector:
    """What the channels of ``joint`` are to be divided by: powers of two, all 1 where that would bring nothing.

    Args:
        graph: Float32.
        joint: One of its joints.
        spans: Largest magnitude per channel on frames, of each of its tensors. What is best for several is between what
            is best for each.
    """
    demand = np.max([_input_spans(graph, r, spans[0].size) for r in joint.readers], axis=0)
    shares = [s / s.max() for s in spans if s.max() > 0]
    if not shares:
        return np.ones(spans[0].size)
    largest = np.max(shares, axis=0)
    live = largest > 0
    logarithms = [np.log2(np.where(s > 0, s, np.where(live, largest, 1.0))) for s in shares]
    by_span = np.where(live, np.exp2(np.mean(logarithms, axis=0)), 0.0)
    balanced = np.sqrt(np.where(live, by_span, 1) / np.where(demand > 0, demand, 1))
    wanted = np.where(live, np.where(demand > 0, balanced, by_span), 1)
    # The tensor's own range stays.
    wanted *= (by_span / wanted).max()
    exponents = np.rint(np.log2(wanted.clip(1 / GREATEST_FACTOR, GREATEST_FACTOR)))
    result = np.where(live, 2.0**exponents, 1.0)
    if joint.limit is not None:
        least = np.exp2(np.ceil(np.log2(np.where(live, _HEADROOM * spans[0] / joint.limit, 1.0))))
        result = np.where(spans[0] < _REACHED * joint.limit, np.maximum(result, least).clip(None, 1.0), 1.0)
    return result if result[live].max() / result[live].min() >= LEAST_RATIO else np.ones(spans[0].size)


def equalised(graph: Graph, fixed: Collection[str], channels: Mapping[str, Channel]) -> tuple[Graph, tuple[str, ...]]:
    """``graph`` with its joints rescaled, and the tensors that were.

    Args:
        graph: Float32.
        fixed: As in :func:`joints`.
        channels: Spans on frames, by tensor.
    """
    done: list[str] = []
    for joint in joints(graph, fixed):
        if not all(n in channels for n in joint.tensors):
            continue
        divisors = factors(graph, joint, *(channels[n].span for n in joint.tensors))
        if (divisors != 1).any():
            graph = rescaled(graph, joint, divisors)
            done += joint.tensors
    return graph, tuple(done)


def rescaled(graph: Graph, joint: Joint, divisors: Vector) -> Graph:
    """``graph`` with the channels of ``joint`` divided by ``divisors`` and the weights that read them multiplied."""
    for writer in joint.writers:
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
