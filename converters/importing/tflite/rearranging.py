"""Operators that move values: reshape, transpose, concatenate, pad, slice, gather, resize and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.converters.importing.tflite.layouts import LEAST_RANK, Form, axis_in, in_form, to_first, to_last
from multigraft.converters.importing.tflite.windows import integer
from multigraft.tflite.graph import Op

_FAR = np.iinfo(np.int64).max


def _reshape(b: GraphBuilder, op: Op) -> None:
    source, output = op.inputs[0], op.outputs[0]
    have, wanted = b.shapes[source], b.shapes[output]
    is_first_only = b.held(source) == {"first"} and not b.keeps_order(source)
    if have == wanted and b.held(source):
        for form in sorted(b.held(source)):
            b.hold(output, form, b.node("Identity", [b.get(source, form)], b.fresh(b.named(output))))
        return
    if is_first_only and _drops_a_one(have, wanted):
        b.hold(output, "first", b.reshaped(b.first(source), in_form("first", wanted), b.named(output)))
        return
    if is_first_only and len(wanted) == 2 and wanted[0] == have[0]:
        # A dense layer after it turns its weights instead.
        b.flat_images[output] = source
        b.hold_later(output, lambda: b.reshaped(b.last(source), wanted, b.named(output)))
        return
    b.hold(output, "last", b.reshaped(b.in_memory_order(source), wanted, b.named(output)))


def _drops_a_one(have: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether the shapes differ in inner dimensions of one only: batch and channels stay."""
    if min(len(have), len(wanted)) < LEAST_RANK or have[0] != wanted[0] or have[-1] != wanted[-1]:
        return False
    return [s for s in have[1:-1] if s != 1] == [s for s in wanted[1:-1] if s != 1]


def _transpose(b: GraphBuilder, op: Op) -> None:
    source, output = op.inputs[0], op.outputs[0]
    rank = len(b.shapes[source])
    order = [axis % rank for axis in b.parameter(op, 1)]
    held = b.held(source)
    if rank >= LEAST_RANK and order == to_last(rank) and "last" in held:
        b.hold(output, "first", b.node("Identity", [b.last(source)], b.named(output)))
    elif rank >= LEAST_RANK and order == to_first(rank) and "first" in held:
        b.hold(output, "last", b.node("Identity", [b.first(source)], b.named(output)))
    elif "first" in held and "last" not in held:
        turned = [axis_in("first", axis, rank) for axis in order]
        b.hold(output, "last", b.node("Transpose", [b.first(source)], b.named(output), perm=turned))
    else:
        b.hold(output, "last", b.node("Transpose", [b.last(source)], b.named(output), perm=order))


def _concatenation(b: GraphBuilder, op: Op) -> None:
    rank = len(b.shapes[op.outputs[0]])
    form = b.common_form(op.inputs, rank)
    axis = axis_in(form, integer(op, "axis"), rank)
    b.finish(op, form, "Concat", [b.get(tensor, form) for tensor in op.inputs], axis=axis)


def _pack(b: GraphBuilder, op: Op) -> None:
    shape = b.shapes[op.outputs[0]]
    axis = integer(op, "axis") % len(shape)
    single = [size if i != axis else 1 for i, size in enumerate(shape)]
    base = b.named(op.outputs[0])
    parts = [b.reshaped(b.in_memory_order(t), single, b.fresh(f"{base}/part")) for t in op.inputs]
    b.finish(op, "last", "Concat", parts, axis=axis)


def _unpack(b: GraphBuilder, op: Op) -> None:
    rank = len(b.shapes[op.inputs[0]])
    axis = integer(op, "axis") % rank
    parts = [b.fresh(f"{b.named(o)}/part") for o in op.outputs]
    _splits(b, b.last(op.inputs[0]), parts, [1] * len(parts), axis)
    for output, part in zip(op.outputs, parts, strict=True):
        b.hold(output, "last", b.reshaped(part, b.shapes[output], b.named(output)))


def _splits(b: GraphBuilder, source: str, outputs: Sequence[str], sizes: Sequence[int], axis: int) -> None:
    if len(outputs) == 1:
        b.node("Identity", [source], outputs[0])
        return
    lengths = b.store(f"{outputs[0]}/sizes", np.array(sizes, np.int64))
    b.several("Split", [source, lengths], outputs, axis=axis)


def _split(b: GraphBuilder, op: Op) -> None:
    place, source = (0, op.inputs[1]) if op.name == "SPLIT" else (2, op.inputs[0])
    rank = len(b.shapes[source])
    axis = b.parameter(op, place)[0] % rank
    form = b.common_form([source], rank)
    sizes = [b.shapes[o][axis] for o in op.outputs]
    names = [b.named(o) for o in op.outputs]
    _splits(b, b.get(source, form), names, sizes, axis_in(form, axis, rank))
    for output, name in zip(op.outputs, names, strict=True):
        b.hold(output, form, name)


def _sliced(b: GraphBuilder, op: Op, ranges: Sequence[range]) -> tuple[Form, str]:
    """The part that ``ranges`` choose, one for each dimension."""
    source = op.inputs[0]
    shape = b.shapes[source]
    form = b.common_form([source], len(shape))
    axes = [i for i, r in enumerate(ranges) if r != range(shape[i])]
    output = b.fresh(f"{b.named(op.outputs[0])}/slice")
    if not axes:
        return form, b.get(source, form)
    # Going backwards to the beginning has an end before it.
    ends = [ranges[i].stop if ranges[i].stop >= 0 else -_FAR for i in axes]
    columns = ([ranges[i].start for i in axes], ends, [axis_in(form, i, len(shape)) for i in axes])
    steps = [ranges[i].step for i in axes]
    parameters = [b.store(f"{output}/where", np.array(v, np.int64)) for v in (*columns, steps)]
    return form, b.node("Slice", [b.get(source, form), *parameters], output)


def _strided_slice(b: GraphBuilder, op: Op) -> None:
    source, output = op.inputs[0], op.outputs[0]
    shape = b.shapes[source]
    begin, end, strides = (b.parameter(op, place) for place in (1, 2, 3))
    begin_mask, end_mask, shrink = (integer(op, f"{k}_mask") for k in ("begin", "end", "shrink_axis"))
    ranges, taken = [], []
    for i, size in enumerate(shape):
        if i >= len(begin):
            ranges.append(range(size))
        elif shrink >> i & 1:
            start = begin[i] % size
            ranges.append(range(start, start + 1))
            taken.append(i)
        else:
            low, high = (None if begin_mask >> i & 1 else begin[i]), (None if end_mask >> i & 1 else end[i])
            ranges.append(range(*slice(low, high, strides[i]).indices(size)))
    _finish_slice(b, op, ranges, taken, output)


def _finish_slice(b: GraphBuilder, op: Op, ranges: Sequence[range], taken: Sequence[int], output: str) -> None:
    form, part = _sliced(b, op, ranges)
    if not taken:
        b.hold(output, form, b.node("Identity", [part], b.named(output)))
        return
    between = f"{output}/before_squeeze"
    b.shapes[between] = tuple(map(len, ranges))
    b.hold(between, form, part)
    b.hold(output, "last", b.reshaped(b.in_memory_order(between), b.shapes[output], b.named(output)))


def _slice(b: GraphBuilder, op: Op) -> None:
    begin, sizes, shape = b.parameter(op, 1), b.parameter(op, 2), b.shapes[op.inputs[0]]
    ranges = [
        range(start, size if length == -1 else start + length)
        for start, length, size in zip(begin, sizes, shape, strict=True)
    ]
    _finish_slice(b, op, ranges, (), op.outputs[0])


def _reverse(b: GraphBuilder, op: Op) -> None:
    shape = b.shapes[op.inputs[0]]
    axes = {axis % len(shape) for axis in b.parameter(op, 1)}
    _finish_slice(
        b, op, [range(s - 1, -1, -1) if i in axes else range(s) for i, s in enumerate(shape)], (), op.outputs[0]
    )


def _pad(b: GraphBuilder, op: Op) -> None:
    source, amounts = op.inputs[0], b.parameter(op, 1)
    rank = len(b.shapes[source])
    form = b.common_form([source], rank)
    pads = [*in_form(form, amounts[0::2]), *in_form(form, amounts[1::2])]
    output = b.named(op.outputs[0])
    if op.name == "MIRROR_PAD" and integer(op, "mode") == 1:
        _mirror_with_edge(b, op, form, amounts)
        return
    inputs = [b.get(source, form), b.store(f"{output}/pads", np.array(pads, np.int64))]
    if op.name == "PADV2":
        value = b.constant(op.inputs[2])
        if value is None:
            b.fail(op, "pads with a value that is computed")
        inputs.append(b.store(f"{output}/value", value.reshape(())))
    b.finish(op, form, "Pad", inputs, mode="reflect" if op.name == "MIRROR_PAD" else "constant")


def _mirror_with_edge(b: GraphBuilder, op: Op, form: Form, amounts: Sequence[int]) -> None:
    """Symmetric padding repeats the edge, which no mode of ONNX's Pad does."""
    shape, output = b.shapes[op.inputs[0]], b.named(op.outputs[0])
    value = b.get(op.inputs[0], form)
    for axis, size in enumerate(shape):
        places = np.pad(np.arange(size), amounts[2 * axis : 2 * axis + 2], mode="symmetric")
        if len(places) != size:
            chosen = b.store(f"{output}/places", places.astype(np.int64))
            at = axis_in(form, axis, len(shape))
            value = b.node("Gather", [value, chosen], b.fresh(f"{output}/padded"), axis=at)
    b.finish(op, form, "Identity", [value])


def _tile(b: GraphBuilder, op: Op) -> None:
    form = b.common_form([op.inputs[0]], len(b.shapes[op.inputs[0]]))
    times = b.store(f"{b.named(op.outputs[0])}/times", np.array(in_form(form, b.parameter(op, 1)), np.int64))
    b.finish(op, form, "Tile", [b.get(op.inputs[0], form), times])


def _broadcast_to(b: GraphBuilder, op: Op) -> None:
    shape = b.shapes[op.outputs[0]]
    form = b.common_form([op.inputs[0]], len(shape))
    wanted = b.store(f"{b.named(op.outputs[0])}/shape", np.array(in_form(form, shape), np.int64))
    b.finish(op, form, "Expand", [b.aligned(op.inputs[0], len(shape), form), wanted])


def _gather(b: GraphBuilder, op: Op) -> None:
    source, places = op.inputs
    rank = len(b.shapes[source])
    form: Form = b.common_form([source], rank) if len(b.shapes[places]) == 1 else "last"
    axis = axis_in(form, integer(op, "axis"), rank)
    b.finish(op, form, "Gather", [b.get(source, form), b.last(places)], axis=axis)


def _gather_nd(b: GraphBuilder, op: Op) -> None:
    places = op.inputs[1]
    value = b.constant(places)
    indices = b.last(places) if value is None else b.store(b.named(places), value.astype(np.int64))
    if value is None:
        indices = b.node("Cast", [indices], b.fresh(f"{b.named(places)}/int64"), to=7)
    b.finish(op, "last", "GatherND", [b.last(op.inputs[0]), indices])


def _blocks(kind: str) -> Callable[[GraphBuilder, Op], None]:
    def emit(b: GraphBuilder, op: Op) -> None:
        attributes = {"mode": "DCR"} if kind == "DepthToSpace" else {}
        b.finish(op, "first", kind, [b.first(op.inputs[0])], blocksize=integer(op, "block_size"), **attributes)

    return emit


def _cumsum(b: GraphBuilder, op: Op) -> None:
    rank = len(b.shapes[op.inputs[0]])
    axis = b.store(f"{b.named(op.outputs[0])}/axis", np.array(b.parameter(op, 1)[0] % rank, np.int64))
    flags = {k: int(bool(op.options.get(k, False))) for k in ("exclusive", "reverse")}
    b.finish(op, "last", "CumSum", [b.last(op.inputs[0]), axis], **flags)


EMITTERS: dict[str, Callable[[GraphBuilder, Op], None]] = {
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "CUMSUM": _cumsum,
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
