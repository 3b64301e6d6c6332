"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

from typing import Any

import numpy as np

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.converters.importing.tflite.windows import integer, pads_of
from multigraft.tflite.graph import Op


def _weights(b: GraphBuilder, op: Op, permutation: tuple[int, ...], shape: tuple[int, ...] | None = None) -> str:
    """The kernel, turned as ONNX has it; one that is computed is turned at run time."""
    tensor = op.inputs[1]
    value = b.constant(tensor)
    if value is not None:
        turned = value.transpose(permutation)
        return b.store(b.named(tensor), turned if shape is None else turned.reshape(shape))
    if shape is not None:
        b.fail(op, "has weights that are computed")
    return b.node("Transpose", [b.last(tensor)], b.fresh(f"{b.named(tensor)}/turned"), perm=list(permutation))


def _bias(b: GraphBuilder, op: Op, place: int) -> list[str]:
    return [b.last(op.inputs[place])] if len(op.inputs) > place and op.inputs[place] else []


def _image(b: GraphBuilder, op: Op, pads: list[int]) -> tuple[str, list[int]]:
    """What the convolution reads, and its pads with those of a PAD before it, which then is not needed for it."""
    pad = b.producer(op.inputs[0])
    amounts = None if pad is None or pad.name != "PAD" else b.constant(pad.inputs[1])
    if pad is None or amounts is None:
        return b.first(op.inputs[0]), pads
    edges = np.asarray(amounts).reshape(-1, 2)
    if len(edges) != 4 or edges[0].any() or edges[3].any():
        return b.first(op.inputs[0]), pads
    more = [int(v) for v in (*edges[1:3, 0], *edges[1:3, 1])]
    return b.first(pad.inputs[0]), [have + new for have, new in zip(pads, more, strict=True)]


def _geometry(op: Op) -> tuple[tuple[int, int], tuple[int, int]]:
    """Strides and dilations."""
    return (
        (integer(op, "stride_h", 1), integer(op, "stride_w", 1)),
        (integer(op, "dilation_h_factor", 1), integer(op, "dilation_w_factor", 1)),
    )


def _conv(b: GraphBuilder, op: Op) -> None:
    held = b.shapes[op.inputs[1]][3]
    _windowed(b, op, (0, 3, 1, 2), b.shapes[op.inputs[0]][3] // held)


def _depthwise(b: GraphBuilder, op: Op) -> None:
    # Channel q of input channel i is number i * multiplier + q in both.
    _windowed(b, op, (3, 0, 1, 2), b.shapes[op.inputs[0]][3])


def _windowed(b: GraphBuilder, op: Op, weights_order: tuple[int, int, int, int], group: int) -> None:
    _, height, width, _ = b.shapes[op.inputs[1]]
    strides, dilations = _geometry(op)
    image, pads = _image(b, op, pads_of(op, b.shapes[op.inputs[0]][1:3], (height, width), strides, dilations))
    b.finish(
        op,
        "first",
        "Conv",
        [image, _weights(b, op, weights_order), *_bias(b, op, 2)],
        kernel_shape=[height, width],
        strides=list(strides),
        dilations=list(dilations),
        group=group,
        pads=pads,
    )


def _transpose_conv(b: GraphBuilder, op: Op) -> None:
    wanted = b.shapes[op.outputs[0]]
    _, height, width, _ = b.shapes[op.inputs[1]]
    source = b.shapes[op.inputs[2]]
    strides, _ = _geometry(op)
    # It is the gradient of a convolution from its output to its input, whose padding it has.
    pads = pads_of(op, wanted[1:3], (height, width), strides, (1, 1))
    more = [
        wanted[1 + i] - ((source[1 + i] - 1) * strides[i] + (height, width)[i] - pads[i] - pads[i + 2]) for i in (0, 1)
    ]
    if min(more) < 0:
        b.fail(op, "has an output that is smaller than its input makes it")
    attributes: dict[str, Any] = {"output_padding": more} if any(more) else {}
    b.finish(
        op,
        "first",
        "ConvTranspose",
        [b.first(op.inputs[2]), _weights(b, op, (3, 0, 1, 2)), *_bias(b, op, 3)],
        kernel_shape=[height, width],
        strides=list(strides),
        pads=pads,
        **attributes,
    )


def _dense(b: GraphBuilder, op: Op) -> None:
    source, units = op.inputs[0], b.shapes[op.outputs[0]][-1]
    shape, depth = b.shapes[source], b.shapes[op.inputs[1]][1]
    weight = b.constant(op.inputs[1])
    bias = _bias(b, op, 2)
    keeps = bool(op.options.get("keep_num_dims", False)) and len(shape) > 2
    if keeps and len(shape) == 4 and "last" not in b.held(source) and weight is not None:
        # On every position of an image: a convolution of one pixel.
        kernel = b.store(b.named(op.inputs[1]), weight.reshape(units, depth, 1, 1))
        b.finish(op, "first", "Conv", [b.first(source), kernel, *bias], kernel_shape=[1, 1])
        return
    if keeps:
        turned = _turned_matrix(b, op)
        if not bias:
            b.finish(op, "last", "MatMul", [b.last(source), turned])
            return
        product = b.node("MatMul", [b.last(source), turned], b.fresh(f"{b.named(op.outputs[0])}/product"))
        b.finish(op, "last", "Add", [product, *bias])
        return
    image = b.flat_images.get(source)
    if image is None and len(shape) > 2 and int(np.prod(shape)) == depth and not b.keeps_order(source):
        image = source if "last" not in b.held(source) else None
    if image is not None and weight is not None and int(np.prod(b.shapes[image][1:])) == depth:
        # The weights are turned in place of the image.
        _, *inner = b.shapes[image]
        axes = [0, len(inner), *range(1, len(inner))]
        matrix = b.store(b.named(op.inputs[1]), weight.reshape(units, *inner).transpose(axes).reshape(units, depth))
        flat = b.node("Flatten", [b.first(image)], b.fresh(f"{b.named(image)}/flat"), axis=1)
    else:
        matrix = b.last(op.inputs[1])
        flat = b.last(source) if len(shape) == 2 else ""
        if not flat:
            rows = int(np.prod(shape)) // depth
            flat = b.reshaped(b.in_memory_order(source), (rows, depth), b.fresh(f"{b.named(source)}/rows"))
    b.finish(op, "last", "Gemm", [flat, matrix, *bias], transB=1)


def _turned_matrix(b: GraphBuilder, op: Op) -> str:
    weight = b.constant(op.inputs[1])
    if weight is not None:
        return b.store(b.named(op.inputs[1]), weight.T)
    return b.node("Transpose", [b.last(op.inputs[1])], b.fresh(f"{b.named(op.inputs[1])}/turned"), perm=[1, 0])


def _batch_matmul(b: GraphBuilder, op: Op) -> None:
    sides = []
    for tensor, option in zip(op.inputs, ("adj_x", "adj_y"), strict=True):
        value, rank = b.last(tensor), len(b.shapes[tensor])
        if op.options.get(option, False):
            order = [*range(rank - 2), rank - 1, rank - 2]
            value = b.node("Transpose", [value], b.fresh(f"{b.named(tensor)}/turned"), perm=order)
        sides.append(value)
    b.finish(op, "last", "MatMul", sides)


EMITTERS = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _batch_matmul,
}
