"""Convolutions and dense layers with weights of -a and a that read signs become LceBconv2d with float results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from multigraft.converters.binary.binary_op import binary_op
from multigraft.converters.binary.signed import WORD, Packing, are_whole_words, packed_shape, sign_source, step_size
from multigraft.converters.binary.windows import Axis, same_axis
from multigraft.converters.conversion.rewriting import int32, prune
from multigraft.converters.conversion.transposes import permutation_of
from multigraft.converters.network.steps import sizes_of
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, OptionValue, Tensor
from multigraft.tflite.words import packed

CONVOLUTIONS = frozenset({"CONV_2D", "FULLY_CONNECTED"})
_OTHERS = {"DEPTHWISE_CONV_2D": "it is a depthwise convolution", "TRANSPOSE_CONV": "it is a transposed convolution"}
SAME, VALID = 0, 1


@dataclass(frozen=True)
class Layer:
    """A layer that can be binary.

    Attributes:
        op: CONV_2D or FULLY_CONNECTED.
        source: The tensor of -s and s that it reads, without its padding.
        height: How rows are computed.
        width: How columns are computed.
        padding: :data:`SAME` or :data:`VALID`.
        pads_one: SAME pads with 1, not 0.
    """

    op: Op
    source: str
    height: Axis | None = None
    width: Axis | None = None
    padding: int = VALID
    pads_one: bool = False


@dataclass(frozen=True)
class Found:
    """What a graph holds.

    Attributes:
        layers: By the tensor that they write.
        refused: Tensor written by a layer that reads signs to why it stays as it is; the end of a sentence.
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def find_layers(graph: Graph) -> Found:
    """The layers that can be binary, and those that read signs and cannot."""
    found = Found()
    for op in graph.ops:
        if op.name not in CONVOLUTIONS and op.name not in _OTHERS:
            continue
        judged = _judged(graph, op)
        if isinstance(judged, Layer):
            found.layers[op.outputs[0]] = judged
        elif judged:
            found.refused[op.outputs[0]] = judged
    return found


def _judged(graph: Graph, op: Op) -> Layer | str:
    """The layer, or why it is none; empty where it reads no signs."""
    data = op.inputs[2 if op.name == "TRANSPOSE_CONV" else 0]
    pad = graph.producer(data)
    pads = None
    if pad is not None and pad.name in ("PAD", "PADV2") and _is_zero(graph, pad):
        pads, inner = graph.constant(pad.inputs[1]), pad.inputs[0]
    else:
        inner = data
    if step_size(graph, inner) is None or graph.tensors[data].dtype != "float32":
        return ""
    if op.name in _OTHERS:
        return _OTHERS[op.name]
    weights = graph.constant(op.inputs[1])
    if weights is None:
        return "its weights are computed"
    if sizes_of(weights) is None:
        return "its weights are more than -a and a for each output channel"
    if op.name == "FULLY_CONNECTED":
        return Layer(op, inner) if pads is None else "it is padded in a way that dense layers have not"
    held, depth = weights.shape[3], graph.tensors[data].shape[3]
    if held != depth and held % WORD:
        return f"its groups have {held} channels, which is no multiple of {WORD}"
    return _windowed(graph, op, data, inner, pads)


def _is_zero(graph: Graph, pad: Op) -> bool:
    value = graph.constant(pad.inputs[2]) if pad.name == "PADV2" else np.zeros(1)
    return value is not None and not value.any()


def _windowed(graph: Graph, op: Op, data: str, inner: str, pads: Array | None) -> Layer | str:
    """A convolution with its padding."""
    _, height, width, _ = graph.tensors[inner].shape
    kernel = graph.tensors[op.inputs[1]].shape[1:3]
    dilation = [_number(op, f"dilation_{side}_factor", 1) for side in ("h", "w")]
    stride = [_number(op, f"stride_{side}", 1) for side in ("h", "w")]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    is_valid = op.options.get("padding") == "VALID"
    if not is_valid:
        if pads is not None:
            return "its padding comes in two parts"
        return Layer(op, inner, padding=SAME)
    pads_one, size = False, step_size(graph, inner)
    pad = graph.producer(inner)
    if pads is None and pad is not None and pad.name == "PADV2" and _pads_with(graph, pad) == size:
        # Ones around, which SAME may do as well.
        around = graph.constant(pad.inputs[1])
        if around is not None and not around[[0, 3]].any() and step_size(graph, pad.inputs[0]) is not None:
            pads, pads_one, inner = around, True, pad.inputs[0]
            _, height, width, _ = graph.tensors[inner].shape
    if pads is None:
        return Layer(op, inner)
    if pads[[0, 3]].any():
        return "its padding adds channels"
    if not pads[1:3].any():
        return Layer(op, inner)
    axes = [
        same_axis(n, span, s, int(before), int(behind), pads_one)
        for n, span, s, (before, behind) in zip((height, width), spans, stride, pads[1:3], strict=True)
    ]
    if axes[0] is None or axes[1] is None:
        if pads_one:
            return Layer(op, data)
        return "its padding with 0 is wider than SAME pads"
    return Layer(op, inner, axes[0], axes[1], SAME, pads_one)


def _pads_with(graph: Graph, pad: Op) -> float | None:
    value = graph.constant(pad.inputs[2])
    return None if value is None else float(value.reshape(-1)[0])


def _number(op: Op, name: str, default: int = 0) -> int:
    return int(str(op.options.get(name, default)))


def with_layers(graph: Graph, layers: dict[str, Layer]) -> Graph:
    """``graph`` with these layers as LceBconv2d of float results, under their names."""
    packing = Packing(graph)
    ops: list[Op] = []
    for op in graph.ops:
        layer = layers.get(op.outputs[0])
        if layer is None:
            ops.append(op)
            continue
        _write(graph, layer, packing)
        ops += packing.taken()
    return prune(dataclasses.replace(graph, ops=tuple(ops), tensors={**graph.tensors, **packing.tensors}))


def _write(graph: Graph, layer: Layer, packing: Packing) -> None:
    op, result = layer.op, graph.tensors[layer.op.outputs[0]]
    weights = graph.constant(op.inputs[1])
    assert weights is not None
    scales = sizes_of(weights)
    assert scales is not None
    channels = graph.tensors[layer.source].shape[-1]
    if op.name == "FULLY_CONNECTED":
        source, size, weights = _rows(graph, layer.source, weights, packing)
        channels = weights.shape[3]
        rows = int(np.prod(result.shape[:-1]))
        source = packing.reshaped(source, (rows, 1, 1, packed_shape((channels,))[0]))
        made: tuple[int, ...] = (rows, 1, 1, len(weights))
    else:
        source, size = packing.packed(layer.source)
        source, made = _with_rows(layer, source, graph.tensors[layer.source].shape, result.shape, packing)
    bias = graph.constant(op.inputs[2]) if len(op.inputs) > 2 and op.inputs[2] else None
    stem = result.name
    filters = packed(np.copysign(1, weights) * np.copysign(1, size))
    held = (
        Tensor(f"{stem}/filter", filters.shape, "int32", data=filters),
        Tensor(f"{stem}/multiplier", scales.shape, data=(scales * abs(size)).astype(np.float32)),
        Tensor(f"{stem}/bias", scales.shape, data=np.zeros_like(scales) if bias is None else bias.reshape(-1)),
    )
    names = [packing.constant(tensor) for tensor in held]
    activation = str(op.options.get("fused_activation_function", "NONE"))
    tail = _tail(layer, made, result.shape, activation, packing)
    target = packing.add(f"{stem}/binary", made, "float32") if tail else stem
    packing.emit(
        binary_op(
            "LceBconv2d",
            (source, *names, ""),
            target,
            channels_in=channels,
            dilation_height_factor=_number(op, "dilation_h_factor", 1),
            dilation_width_factor=_number(op, "dilation_w_factor", 1),
            fused_activation_function=0,
            pad_values=int(layer.pads_one),
            padding=layer.padding,
            stride_height=layer.height.stride if layer.height else _number(op, "stride_h", 1),
            stride_width=layer.width.stride if layer.width else _number(op, "stride_w", 1),
        )
    )
    for number, (kind, inputs, options) in enumerate(tail):
        last = number == len(tail) - 1
        shape = result.shape if kind != "STRIDED_SLICE" else _cropped(layer, made)
        name = stem if last else packing.add(f"{stem}/{kind.lower()}", shape, "float32")
        packing.emit(Op(kind, (target, *inputs), (name,), options))
        target = name


def _rows(graph: Graph, tensor: str, weights: Array, packing: Packing) -> tuple[str, float, Array]:
    """What a dense layer reads, packed, its s, and the layer's weights, [outputs, 1, 1, channels], in that order."""
    channels = weights.shape[1]
    before = _before_flattening(graph, tensor)
    if before is not None:
        inner, is_sign = before
        _, height, width, depth = graph.tensors[inner].shape
        turned = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(-1, 1, 1, channels)
        source, size = packing.packed(inner) if is_sign else (packing.quantized(inner), 1.0)
        return source, size, turned
    plain = weights.reshape(-1, 1, 1, channels)
    shape = graph.tensors[tensor].shape
    rows = (int(np.prod(shape)) // channels, channels)
    if are_whole_words(shape, rows):
        return *packing.packed(tensor), plain
    size = abs(step_size(graph, tensor) or 1.0)
    target = packing.constant(int32(f"{tensor}/rows", rows))
    name = packing.add(f"{tensor}/flat", rows, "float32")
    packing.emit(Op("RESHAPE", (tensor, target), (name,), {"new_shape": rows}))
    return packing.quantized(name), size, plain


def _before_flattening(graph: Graph, tensor: str) -> tuple[str, bool] | None:
    """The picture, channels last, that is laid out channels first and made a row, and whether it holds signs yet.

    Only where words can be laid out so: the weights are, in its place.
    """
    source = sign_source(graph, tensor)
    reshape = graph.producer(tensor if source is None else source)
    turn = graph.producer(reshape.inputs[0]) if reshape is not None and reshape.name == "RESHAPE" else None
    if turn is None or permutation_of(graph, turn) != (0, 3, 1, 2) or len(graph.tensors[tensor].shape) != 2:
        return None
    shape = graph.tensors[turn.inputs[0]].shape
    if shape[3] % WORD or graph.tensors[tensor].shape[0] != shape[0]:
        return None
    return turn.inputs[0], source is None


def _with_rows(
    layer: Layer, source: str, shape: tuple[int, ...], result: tuple[int, ...], packing: Packing
) -> tuple[str, tuple[int, ...]]:
    """The packed input with rows and columns of ones at its end, and the shape that the operator gives."""
    if layer.height is None or layer.width is None:
        return source, result
    batch, height, width, channels = shape
    added = layer.height.added, layer.width.added
    if any(added):
        pads = np.array([[0, 0], [0, added[0]], [0, added[1]], [0, 0]], np.int32)
        name = packing.constant(Tensor(f"{source}/pads", pads.shape, "int32", data=pads))
        source = packing.ones_around(source, name, packed_shape((batch, height + added[0], width + added[1], channels)))
    return source, (batch, layer.height.made, layer.width.made, result[3])


def _cropped(layer: Layer, made: tuple[int, ...]) -> tuple[int, ...]:
    assert layer.height is not None and layer.width is not None
    return (made[0], layer.height.count, layer.width.count, made[3])


_Tail = list[tuple[str, tuple[str, ...], dict[str, OptionValue]]]


def _tail(layer: Layer, made: tuple[int, ...], wanted: tuple[int, ...], activation: str, packing: Packing) -> _Tail:
    """Operators behind the convolution: crop, shape, activation."""
    tail: _Tail = []
    if layer.height is not None and layer.width is not None and (layer.height.is_cropped or layer.width.is_cropped):
        axes = (layer.height, layer.width)
        ends = [axis.begin + (axis.count - 1) * axis.step + 1 for axis in axes]
        numbers = (
            (0, axes[0].begin, axes[1].begin, 0),
            (made[0], *ends, made[3]),
            (1, axes[0].step, axes[1].step, 1),
        )
        names = tuple(packing.constant(int32(f"{layer.op.outputs[0]}/crop", values)) for values in numbers)
        tail.append(("STRIDED_SLICE", names, {}))
    elif made != wanted:
        shape = packing.constant(int32(f"{layer.op.outputs[0]}/shape", wanted))
        tail.append(("RESHAPE", (shape,), {"new_shape": wanted}))
    if activation != "NONE":
        tail.append((activation, (), {}))
    return tail
