"""From one binary layer to the next without leaving packed form: what stands between becomes thresholds.

Between a convolution and the sign that reads it alone there may be any arithmetic that works on each number by itself:
batch norms, activations, scales. A sum of K values of -1 and 1 has K + 1 results, so each channel's arithmetic is
computed for all of them, by the interpreter, and compared with zero. Where it is below zero for sums up to a limit, or
from a limit on, that limit is the channel's threshold; the second needs the filter turned over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.binary.factors import BIAS, MULTIPLIER, channel_constant, is_batch_norm
from multigraft.converters.binary.signed import WORD, are_whole_words, packed_shape, pool_op
from multigraft.converters.conversion.interpreters import Runner, main_signature
from multigraft.converters.conversion.rewriting import free_name, only_reader, prune, replace_op
from multigraft.tensors.arrays import Array
from multigraft.tflite.checking.flexbuffer import whole_numbers
from multigraft.tflite.graph import Graph, Model, Op, Tensor
from multigraft.tflite.tflite_file import write
from multigraft.tflite.words import bits_of, packed

_FILTER = 1
_ELEMENTWISE_NAMES = (
    "MUL ADD SUB DIV RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU PRELU MAXIMUM MINIMUM NEG TANH LOGISTIC "
    "HARD_SWISH ELU ABS SQUARED_DIFFERENCE"
)
_ELEMENTWISE = frozenset(_ELEMENTWISE_NAMES.split())
_ON_EACH = _ELEMENTWISE | {"DEPTHWISE_CONV_2D"}
_MOVES = frozenset({"RESHAPE", "STRIDED_SLICE"})
_AT_ONCE = 1 << 21
"""Numbers that the interpreter is given at a time."""


@dataclass(frozen=True)
class Chain:
    """From a convolution of float results to the LceQuantize that alone reads them.

    Attributes:
        conv: LceBconv2d.
        between: In order of running.
        end: LceQuantize.
    """

    conv: Op
    between: tuple[Op, ...]
    end: Op


def fold_chains(graph: Graph) -> Graph:
    """``graph`` with packed results wherever the next layer alone reads them, and that equals the arithmetic."""
    ends = [op.outputs[0] for op in graph.ops if op.custom_code == "LceQuantize"]
    for name in ends:
        end = graph.producer(name)
        chain = None if end is None else _chain_to(graph, end)
        if chain is not None:
            graph = _folded(graph, chain) or graph
    return graph


def _chain_to(graph: Graph, end: Op) -> Chain | None:
    between: list[Op] = []
    reader, tensor = end, end.inputs[0]
    while True:
        op = graph.producer(tensor)
        if op is None or only_reader(graph, tensor) is not reader or graph.tensors[tensor].dtype != "float32":
            return None
        if op.custom_code == "LceBconv2d":
            return Chain(op, tuple(reversed(between)), end)
        data = _data(graph, op)
        if data is None:
            return None
        between.append(op)
        reader, tensor = op, data


def _data(graph: Graph, op: Op) -> str | None:
    """The one computed input of an operator that a chain may have; None for others."""
    if op.name == "MAX_POOL_2D":
        return op.inputs[0]
    before, after = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    if op.name in _MOVES:
        is_same = before[-1] == after[-1] if op.name == "STRIDED_SLICE" else are_whole_words(before, after)
        return op.inputs[0] if is_same else None
    if is_batch_norm(graph, op):
        return op.inputs[0]
    if op.name not in _ELEMENTWISE:
        return None
    computed = [name for name in op.inputs if graph.constant(name) is None]
    if len(computed) != 1 or graph.tensors[computed[0]].shape != after:
        return None
    held = [name for name in op.inputs if name != computed[0]]
    return computed[0] if all(channel_constant(graph, name, after[-1]) is not None for name in held) else None


def _folded(graph: Graph, chain: Chain) -> Graph | None:
    conv, held = chain.conv, graph.constant(chain.conv.inputs[_FILTER])
    multiplier, bias = (graph.constant(conv.inputs[place]) for place in (MULTIPLIER, BIAS))
    assert held is not None and multiplier is not None and bias is not None
    options = whole_numbers(conv.custom_options)
    channels = options["channels_in"] * held.shape[3] // graph.tensors[conv.inputs[0]].shape[3]
    most = held.shape[1] * held.shape[2] * channels
    halves = options["padding"] == 0 and options["pad_values"] == 0 and channels % 2 == 1
    sums = np.arange(-most, most + 1, 1 if halves else 2, dtype=np.int64)
    arithmetic = _arithmetic(graph, chain, len(multiplier))
    if arithmetic is None:
        return None
    results, pools = _computed(arithmetic, sums, multiplier, bias)
    limits = _limits(results < 0, pools, sums, most, halves)
    if limits is None:
        return None
    thresholds, is_flipped, is_inverted = limits
    readers = _readers_turned(graph, chain.end.outputs[0], is_inverted) if is_inverted.any() else ()
    if readers is None:
        return None
    signs = 1 - 2 * bits_of(held, channels)
    signs[is_flipped] *= -1
    filters = packed(signs)
    stem = chain.end.outputs[0]
    added = [
        Tensor(free_name(graph, f"{stem}/filter"), filters.shape, "int32", data=filters),
        Tensor(free_name(graph, f"{stem}/thresholds"), thresholds.shape, "int32", data=thresholds),
    ]
    ops: list[Op] = []
    source = free_name(graph, f"{stem}/sums")
    added.append(Tensor(source, packed_shape(graph.tensors[conv.outputs[0]].shape), "int32"))
    inputs = (conv.inputs[0], added[0].name, "", "", added[1].name)
    ops.append(dataclasses.replace(conv, inputs=inputs, outputs=(source,)))
    for op in chain.between:
        if op.name in _ON_EACH:
            continue
        shape = packed_shape(graph.tensors[op.outputs[0]].shape)
        name = free_name(graph, f"{op.outputs[0]}/packed")
        added.append(Tensor(name, shape, "int32"))
        new, more = _on_words(graph, op, source, name, shape)
        ops.append(new)
        added += more
        source = name
    last = ops[-1]
    ops[-1] = dataclasses.replace(last, outputs=(stem,))
    added = [t for t in added if t.name != source]
    gone = {id(op) for op in (conv, *chain.between)}
    rest = dataclasses.replace(graph, ops=tuple(op for op in graph.ops if id(op) not in gone))
    rest = replace_op(rest, chain.end, ops, added)
    for reader, new_filter in readers:
        name = free_name(rest, f"{reader.outputs[0]}/filter")
        turned = dataclasses.replace(reader, inputs=(reader.inputs[0], name, *reader.inputs[2:]))
        rest = replace_op(rest, reader, [turned], [Tensor(name, new_filter.shape, "int32", data=new_filter)])
    return prune(rest)


def _on_words(graph: Graph, op: Op, source: str, target: str, shape: tuple[int, ...]) -> tuple[Op, list[Tensor]]:
    """An operator of a chain that moves or pools, on packed tensors."""
    if op.name == "MAX_POOL_2D":
        return pool_op(op, source, target), []
    if op.name == "RESHAPE":
        data = np.array(shape, np.int32)
        tensor = Tensor(free_name(graph, f"{target}/shape"), data.shape, "int32", data=data)
        return Op("RESHAPE", (source, tensor.name), (target,), {"new_shape": shape}), [tensor]
    limits = []
    for name, last in zip(op.inputs[1:4], (0, shape[-1], 1), strict=True):
        value = graph.constant(name)
        assert value is not None
        data = value.astype(np.int32).copy()
        data[-1] = last
        limits.append(Tensor(free_name(graph, f"{target}/{name}"), data.shape, "int32", data=data))
    return dataclasses.replace(op, inputs=(source, *(t.name for t in limits)), outputs=(target,)), limits


@dataclass(frozen=True)
class _Arithmetic:
    """What a chain makes of its convolution's results, and what its pools read, as a model of its own."""

    model: bytes
    rows: int
    result: str
    pools: tuple[str, ...]


def _arithmetic(graph: Graph, chain: Chain, channels: int) -> _Arithmetic | None:
    rows = max(1, min(_AT_ONCE // channels, 1 << 15))
    shape = (rows, 1, 1, channels)
    tensors, ops, pools = [Tensor("sum", shape)], [], []
    current = "sum"
    for number, op in enumerate(chain.between):
        if op.name == "MAX_POOL_2D":
            pools.append(current)
            activation = str(op.options.get("fused_activation_function", "NONE"))
            if activation != "NONE":
                source, current = current, f"{number}/{op.outputs[0]}"
                tensors.append(Tensor(current, shape))
                ops.append(Op(activation, (source,), (current,)))
        if op.name == "RESHAPE" and graph.tensors[op.outputs[0]].shape[-1] != channels:
            if any(o.name in _ON_EACH for o in chain.between[number:]):
                return None  # from here on a channel has several places
            break
        if op.name == "DEPTHWISE_CONV_2D":
            current = _of_batch_norm(graph, op, current, number, shape, tensors, ops)
            continue
        if op.name not in _ELEMENTWISE:
            continue
        names = []
        for name in op.inputs:
            held = channel_constant(graph, name, channels)
            if held is None:
                names.append(current)
                continue
            value = np.ascontiguousarray(held.reshape((1, 1, channels)), np.float32)
            names.append(f"{number}/{name}")
            tensors.append(Tensor(names[-1], value.shape, data=value))
        current = f"{number}/{op.outputs[0]}"
        tensors.append(Tensor(current, shape))
        ops.append(dataclasses.replace(op, inputs=tuple(names), outputs=(current,)))
    outputs = tuple(dict.fromkeys(n for n in (current, *pools) if n != "sum"))
    if not outputs:
        return _Arithmetic(b"", rows, current, tuple(pools))
    part = Graph.of("arithmetic", ["sum"], outputs, ops, tensors)
    return _Arithmetic(write(Model((part,), (main_signature(part),))), rows, current, tuple(pools))


def _of_batch_norm(
    graph: Graph, op: Op, source: str, number: int, shape: tuple[int, ...], tensors: list[Tensor], ops: list[Op]
) -> str:
    """A batch norm's factor and summand one after the other, as they are in ONNX, so that 0 stays 0."""
    current = source
    for kind, place in (("MUL", 1), ("ADD", 2)):
        value = graph.constant(op.inputs[place])
        assert value is not None
        held, name = f"{number}/{kind}/value", f"{number}/{kind}"
        tensors += [Tensor(held, value.reshape(1, 1, -1).shape, data=value.reshape(1, 1, -1)), Tensor(name, shape)]
        options = {"fused_activation_function": str(op.options.get("fused_activation_function", "NONE"))}
        ops.append(Op(kind, (current, held), (name,), options if kind == "ADD" else {}))
        current = name
    return current


def _computed(arithmetic: _Arithmetic, sums: Array, multiplier: Array, bias: Array) -> tuple[Array, list[Array]]:
    """The chain's result for every sum, [sums, channels], and what each of its pools read."""
    linear = (sums[:, None] * multiplier.astype(np.float64) + bias).astype(np.float32)
    if not arithmetic.model:
        return linear, [linear] * len(arithmetic.pools)
    runner, rows = Runner(arithmetic.model), arithmetic.rows
    parts: dict[str, list[Array]] = {}
    for begin in range(0, len(sums), rows):
        part = linear[begin : begin + rows]
        fed = np.zeros((rows, 1, 1, len(multiplier)), np.float32)
        fed[: len(part), 0, 0] = part
        for name, value in runner({"sum": fed}).items():
            parts.setdefault(name, []).append(value[: len(part), 0, 0])
    whole = {name: np.concatenate(values) for name, values in parts.items()} | {"sum": linear}
    return whole[arithmetic.result], [whole[name] for name in arithmetic.pools]


def _limits(
    bits: Array, pools: Sequence[Array], sums: Array, most: int, halves: bool
) -> tuple[Array, Array, Array] | None:
    """Thresholds, which channels' filters are turned over, and which channels are stored inverted; None if impossible.

    Args:
        bits: [sums, channels], whether the result is below zero.
        pools: What each maximum pool reads, in the same form.
        sums: In rising order.
        most: K.
        halves: Whether a difference may be counted by halves.
    """
    is_inverted = np.zeros(bits.shape[1], bool)
    lower = np.ones(bits.shape[1], bool)
    upper = np.ones(bits.shape[1], bool)
    for read in pools:
        order = np.argsort(read, axis=0, kind="stable")
        sorted_bits = np.take_along_axis(bits, order, 0)
        lower &= (sorted_bits[1:] <= sorted_bits[:-1]).all(0)
        upper &= (sorted_bits[1:] >= sorted_bits[:-1]).all(0)
    if not (lower | upper).all():
        return None
    is_inverted = ~lower
    stored = bits ^ is_inverted
    falls = (stored[1:] <= stored[:-1]).all(0)
    rises = (stored[1:] >= stored[:-1]).all(0)
    if not (falls | rises).all():
        return None
    is_flipped = ~falls
    count = stored.sum(0)  # of the lowest sums, or of the highest, which the flip makes the lowest
    step = 1 if halves else 2
    twice = 2 * most - step * (count - 1)  # of the highest such sum, twice the number of differences
    if halves and (twice[(count > 0) & (count < len(sums))] % 2 == 0).any():
        return None
    thresholds = np.where(count == 0, most, np.where(count == len(sums), -1, (twice - step) // 2))
    return thresholds.astype(np.int32), is_flipped, is_inverted


def _readers_turned(graph: Graph, tensor: str, is_inverted: Array) -> tuple[tuple[Op, Array], ...] | None:
    """The convolutions that read a packed tensor, with filters for inverted channels; None where others read it."""
    found: list[tuple[Op, Array]] = []
    for reader in graph.consumers(tensor):
        after = reader.outputs[0]
        if reader.name == "RESHAPE":
            times = graph.tensors[after].shape[-1] * WORD // len(is_inverted)
            tiled = is_inverted if times <= 1 else np.tile(is_inverted, times)
            inner = _readers_turned(graph, after, tiled)
            if inner is None:
                return None
            found += inner
            continue
        held = graph.constant(reader.inputs[_FILTER]) if reader.custom_code == "LceBconv2d" else None
        if held is None:
            return None
        options = whole_numbers(reader.custom_options)
        channels = options["channels_in"]
        groups = graph.tensors[tensor].shape[3] // held.shape[3]
        if (options["padding"] == 0 and options["pad_values"] == 1) or channels != len(is_inverted) or groups != 1:
            return None
        signs = 1 - 2 * bits_of(held, channels)
        signs[..., is_inverted] *= -1
        found.append((reader, packed(signs)))
    return tuple(found)
