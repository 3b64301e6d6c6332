"""Removes what a converter leaves behind: transposes around channel-first fragments, reshapes, pads, lone activations.

Every rule takes a float graph and returns one that computes the same, or the very same object if it found nothing. The
rules that move values about are bit-exact; a reduction over other axes may add in another order (relative 1e-6).
Names of graph inputs and outputs stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from multigraft.converters.conversion.dense import fold_bias_into_dense, product_to_dense
from multigraft.converters.conversion.rewriting import bypass, free_name, int32, only_reader, prune, replace_op
from multigraft.converters.conversion.signals import raise_above_turn, reduce_before_turn
from multigraft.converters.conversion.transposes import (
    fold_transpose_into_reduction,
    merge_transposes,
    sink_transposes,
    transpose_to_reshape,
)
from multigraft.tflite.graph import Graph, Op

Rule = Callable[[Graph], Graph]

_FUSES_ACTIVATION = frozenset(
    ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"]
)
_ACTIVATIONS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}
_NON_NEGATIVE = frozenset({"RELU", "RELU6", "RELU_0_TO_1"})
_LIMIT = 10_000
_SMALL = 64
"""Elements of a constant that is compared by its content."""


def clean(graph: Graph) -> Graph:
    """Apply :data:`RULES` until none finds anything."""
    graph = prune(graph)
    for _ in range(_LIMIT):
        before = graph
        for rule in RULES:
            graph = rule(graph)
        if graph is before:
            return graph
    raise AssertionError("the clean-up rules undo each other")


def merge_reshapes(graph: Graph) -> Graph:
    """The last of several reshapes in a row is enough; one to the shape that is there already disappears."""
    for op in graph.ops:
        if op.name not in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
            continue
        source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if source.shape == result.shape and (shorter := bypass(graph, op)) is not None:
            return shorter
        first = graph.producer(op.inputs[0])
        if first is not None and first.name in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
            target = int32(free_name(graph, f"{result.name}/shape"), result.shape)
            merged = Op("RESHAPE", (first.inputs[0], target.name), op.outputs, {"new_shape": result.shape})
            return prune(replace_op(graph, op, [merged], [target]))
    return graph


def share_equal_operators(graph: Graph) -> Graph:
    """Of two operators that compute the same from the same, such as pads of one tensor for two heads, one is enough."""
    first: dict[object, Op] = {}
    for op in graph.ops:
        if not op.inputs or "VAR" in op.name:  # variables may change between two readings
            continue
        inputs = tuple(_value_of(graph, name) for name in op.inputs)
        key = op.name, inputs, tuple(sorted(op.options.items(), key=str)), op.custom_code
        other = first.setdefault(key, op)
        if other is not op and not set(op.outputs) & set(graph.outputs):
            names = dict(zip(op.outputs, other.outputs, strict=True))
            rest = (o for o in graph.ops if o is not op)
            ops = (dataclasses.replace(o, inputs=tuple(names.get(n, n) for n in o.inputs)) for o in rest)
            return prune(dataclasses.replace(graph, ops=tuple(ops)))
    return graph


def _value_of(graph: Graph, name: str) -> object:
    """What tells the value of a tensor from others: its content if it is a small constant, or else its name."""
    value = graph.constant(name)
    return name if value is None or value.size > _SMALL else (value.dtype.str, value.shape, value.tobytes())


def fuse_activations(graph: Graph) -> Graph:
    """An activation that alone reads an operator's result becomes that operator's own."""
    for op in graph.ops:
        before = graph.producer(op.inputs[0]) if op.name in _ACTIVATIONS else None
        if before is None or before.name not in _FUSES_ACTIVATION:
            continue
        plain = before.options.get("fused_activation_function", "NONE") == "NONE"
        if plain and only_reader(graph, before.outputs[0]) is op:
            fused = before.with_options(fused_activation_function=_ACTIVATIONS[op.name])
            fused = dataclasses.replace(fused, outputs=op.outputs)
            return prune(replace_op(replace_op(graph, op, []), before, [fused]))
    return graph


def zero_pads(graph: Graph) -> Graph:
    """A pad of minus infinity before maximum pooling of values that are never negative becomes a pad of zeros.

    Every window holds at least one of the values, so the maximum is the same; and zero has a scale when quantised.
    """
    for op in graph.ops:
        value = graph.constant(op.inputs[2]) if op.name == "PADV2" else None
        amounts = graph.constant(op.inputs[1]) if op.name == "PADV2" else None
        readers = graph.consumers(op.outputs[0])
        if value is None or amounts is None or op.outputs[0] in graph.outputs or not _never_negative(graph, op):
            continue
        if value.reshape(-1)[0] < 0 and all(r.name == "MAX_POOL_2D" for r in readers):
            kernels = [min(_window(graph, r, axis)[0] for r in readers) for axis in "hw"]
            if len(amounts) == 4 and (amounts[1:3].max(axis=1) < kernels).all():
                return prune(replace_op(graph, op, [Op("PAD", op.inputs[:2], op.outputs)]))
    return graph


def absorb_pads(graph: Graph) -> Graph:
    """A pad before a convolution or maximum pooling without padding becomes SAME padding where that pads equally.

    Convolutions want zeros. Maximum pooling ignores what SAME adds: the pad must hold the lowest value, or zeros before
    values that are never negative.
    """
    for op in graph.ops:
        if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D") or op.options.get("padding") != "VALID":
            continue
        pad = graph.producer(op.inputs[0])
        if pad is None or not _pads_neutrally(graph, pad, op):
            continue
        amounts = graph.constant(pad.inputs[1])
        shape = graph.tensors[pad.inputs[0]].shape
        if amounts is None or len(shape) != 4 or amounts[[0, 3]].any():
            continue
        wanted = [same_padding(shape[1 + i], *_window(graph, op, "hw"[i])) for i in range(2)]
        if [tuple(int(v) for v in row) for row in amounts[1:3]] == wanted:
            same = dataclasses.replace(op.with_options(padding="SAME"), inputs=(pad.inputs[0], *op.inputs[1:]))
            return prune(replace_op(graph, op, [same]))
    return graph


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """What SAME padding adds before and after an axis of ``size`` (TensorFlow: the odd element goes behind)."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def _window(graph: Graph, op: Op, axis: str) -> tuple[int, int, int]:
    """Kernel size, stride and dilation of ``op`` along ``axis`` (h or w)."""
    if op.name == "MAX_POOL_2D":
        kernel = op.options.get(f"filter_{'height' if axis == 'h' else 'width'}")
    else:
        kernel = graph.tensors[op.inputs[1]].shape[1 if axis == "h" else 2]
    values = kernel, op.options.get(f"stride_{axis}"), op.options.get(f"dilation_{axis}_factor", 1)
    return tuple(int(v) for v in values if isinstance(v, int))  # type: ignore[return-value]


def _pads_neutrally(graph: Graph, pad: Op, op: Op) -> bool:
    if pad.name == "PAD":
        value = 0.0
    elif pad.name == "PADV2" and (stored := graph.constant(pad.inputs[2])) is not None:
        value = float(stored.reshape(-1)[0])
    else:
        return False
    if op.name != "MAX_POOL_2D":
        return value == 0.0
    if value <= np.finfo(np.float32).min:
        return True
    return value == 0.0 and _never_negative(graph, pad)


def _never_negative(graph: Graph, op: Op) -> bool:
    """Whether the first input of ``op`` comes out of a rectifier."""
    before = graph.producer(op.inputs[0])
    return before is not None and (
        before.name in _NON_NEGATIVE or before.options.get("fused_activation_function") in _NON_NEGATIVE
    )


RULES: tuple[Rule, ...] = (
    raise_above_turn,
    reduce_before_turn,
    merge_transposes,
    sink_transposes,
    fold_transpose_into_reduction,
    transpose_to_reshape,
    merge_reshapes,
    share_equal_operators,
    product_to_dense,
    fold_bias_into_dense,
    fuse_activations,
    zero_pads,
    absorb_pads,
)
