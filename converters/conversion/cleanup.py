"""Removes what a converter leaves behind: transposes around channel-first fragments, reshapes, pads, lone activations.

Every rule takes a float graph and returns one that computes the same, or the very same object if it found nothing. The
rules that move values about are bit-exact; a reduction over other axes may add in another order (relative 1e-6).
Names of graph inputs and outputs stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from multigraft.converters.conversion.rewriting import bypass, free_name, int32, only_reader, prune, replace_op
from multigraft.tflite.graph import Graph, Op, Tensor

Rule = Callable[[Graph], Graph]
Permutation = tuple[int, ...]

_UNARY = frozenset(
    {
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "LEAKY_RELU",
        "ELU",
        "TANH",
        "LOGISTIC",
        "HARD_SWISH",
        "GELU",
        "ABS",
        "NEG",
        "EXP",
        "LOG",
        "SQRT",
        "RSQRT",
        "SQUARE",
        "FLOOR",
        "CEIL",
        "ROUND",
        "SIN",
        "COS",
        "CAST",
        "QUANTIZE",
        "DEQUANTIZE",
    }
)
_BINARY = frozenset(["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW"])
_REDUCTIONS = frozenset(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
_FUSES_ACTIVATION = frozenset(
    ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"]
)
_ACTIVATIONS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}
_NON_NEGATIVE = frozenset({"RELU", "RELU6", "RELU_0_TO_1"})
_LIMIT = 10_000


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


def merge_transposes(graph: Graph) -> Graph:
    """Two transposes in a row become one; one that changes nothing disappears."""
    for op in graph.ops:
        permutation = permutation_of(graph, op)
        if permutation is None:
            continue
        if permutation == tuple(range(len(permutation))):
            if (shorter := bypass(graph, op)) is not None:
                return shorter
            continue
        first = graph.producer(op.inputs[0])
        inner = permutation_of(graph, first) if first else None
        if first is not None and inner is not None:
            both = int32(free_name(graph, f"{op.outputs[0]}/perm"), (inner[p] for p in permutation))
            merged = dataclasses.replace(op, inputs=(first.inputs[0], both.name))
            return prune(replace_op(graph, op, [merged], [both]))
    return graph


def sink_transposes(graph: Graph) -> Graph:
    """A transpose before an elementwise operator or a concatenation moves behind it, where it may meet its inverse."""
    for op in graph.ops:
        if op.name not in _UNARY | _BINARY | {"CONCATENATION"}:
            continue
        permutations = {_incoming(graph, name) for name in op.inputs if graph.constant(name) is None}
        permutation = permutations.pop() if len(permutations) == 1 else None
        if permutation is None:
            continue
        moved = _behind(graph, op, permutation)
        if moved is not None:
            return moved
    return graph


def _behind(graph: Graph, op: Op, permutation: Permutation) -> Graph | None:
    inverse = tuple(int(i) for i in np.argsort(permutation))
    inputs, added = [], []
    for name in op.inputs:
        value = graph.constant(name)
        if value is None:
            before = graph.producer(name)
            assert before is not None
            inputs.append(before.inputs[0])
        elif value.size == 1:
            inputs.append(name)
        elif value.ndim == len(permutation):
            data = np.ascontiguousarray(value.transpose(inverse))
            free = free_name(graph, f"{name}/transposed")
            added.append(Tensor(free, data.shape, graph.tensors[name].dtype, data=data))
            inputs.append(free)
        else:
            return None
    options = dict(op.options)
    if op.name == "CONCATENATION":
        axis = options.get("axis")
        assert isinstance(axis, int)
        options["axis"] = permutation[axis % len(permutation)]
    result = graph.tensors[op.outputs[0]]
    shape = tuple(result.shape[i] for i in inverse)
    inner = dataclasses.replace(result, name=free_name(graph, f"{result.name}/untransposed"), shape=shape)
    perm = int32(free_name(graph, f"{result.name}/perm"), permutation)
    computed = dataclasses.replace(op, inputs=tuple(inputs), outputs=(inner.name,), options=options)
    behind = Op("TRANSPOSE", (inner.name, perm.name), op.outputs)
    return prune(replace_op(graph, op, [computed, behind], [*added, inner, perm]))


def fold_transpose_into_reduction(graph: Graph) -> Graph:
    """A transpose before a reduction disappears into the axes."""
    for op in graph.ops:
        permutation = _incoming(graph, op.inputs[0]) if op.name in _REDUCTIONS else None
        axes = graph.constant(op.inputs[1]) if permutation else None
        before = graph.producer(op.inputs[0])
        if permutation is None or axes is None or before is None:
            continue
        folded = tuple(permutation[int(a) % len(permutation)] for a in axes.reshape(-1))
        new_axes = int32(free_name(graph, f"{op.outputs[0]}/axes"), sorted(folded))
        reduced = dataclasses.replace(op, inputs=(before.inputs[0], new_axes.name))
        if op.options.get("keep_dims"):
            result = graph.tensors[op.outputs[0]]
            inverse = np.argsort(permutation)
            shape = tuple(result.shape[i] for i in inverse)
            inner = dataclasses.replace(result, name=free_name(graph, f"{result.name}/untransposed"), shape=shape)
            perm = int32(free_name(graph, f"{result.name}/perm"), permutation)
            reduced = dataclasses.replace(reduced, outputs=(inner.name,))
            behind = Op("TRANSPOSE", (inner.name, perm.name), op.outputs)
            return prune(replace_op(graph, op, [reduced, behind], [new_axes, inner, perm]))
        left = [p for p in permutation if p not in folded]
        if left == sorted(left):
            return prune(replace_op(graph, op, [reduced], [new_axes]))
    return graph


def transpose_to_reshape(graph: Graph) -> Graph:
    """A transpose that only moves dimensions of one element is a reshape."""
    for op in graph.ops:
        permutation = permutation_of(graph, op)
        if permutation is None or permutation == tuple(range(len(permutation))):
            continue
        shape = graph.tensors[op.inputs[0]].shape
        moving = [p for p in permutation if shape[p] != 1]
        if moving == sorted(moving):
            new_shape = graph.tensors[op.outputs[0]].shape
            target = int32(free_name(graph, f"{op.outputs[0]}/shape"), new_shape)
            reshape = Op("RESHAPE", (op.inputs[0], target.name), op.outputs, {"new_shape": new_shape})
            return prune(replace_op(graph, op, [reshape], [target]))
    return graph


def merge_reshapes(graph: Graph) -> Graph:
    """Of reshapes in a row the last is enough; one to the shape that is there already disappears."""
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


def permutation_of(graph: Graph, op: Op | None) -> Permutation | None:
    """The permutation of a TRANSPOSE; None for anything else."""
    if op is None or op.name != "TRANSPOSE":
        return None
    value = graph.constant(op.inputs[1])
    return None if value is None else tuple(int(v) for v in value)


def _incoming(graph: Graph, tensor: str) -> Permutation | None:
    return permutation_of(graph, graph.producer(tensor))


RULES: tuple[Rule, ...] = (
    merge_transposes,
    sink_transposes,
    fold_transpose_into_reduction,
    transpose_to_reshape,
    merge_reshapes,
    fuse_activations,
    zero_pads,
    absorb_pads,
)
