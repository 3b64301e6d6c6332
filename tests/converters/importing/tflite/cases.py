"""A small network for each operator that a float .tflite file may hold, and for the forms that converters write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multigraft.tflite.graph import Op
from tests.converters.importing.tflite.graphs import Sketch

Case = Callable[[Sketch], str]
IMAGE = (1, 9, 7, 3)


def image(s: Sketch, channels: int = 4) -> str:
    """What a convolution made of a picture, so that it has channels first."""
    return s.conv(s.input(*IMAGE), channels)


def unary(name: str, positive: bool = False, **options: Any) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        if positive:
            x = s.op("ADD", (s.op("ABS", (x,), s.shape(x)), s.numbers(0.1, dtype="float32")), s.shape(x))
        return s.op(name, (x,), s.shape(x), **options)

    return make


def binary(name: str, shape: tuple[int, ...] = (4,), dtype: str = "float32", **options: Any) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        return s.op(name, (x, s.weights(*shape)), s.shape(x), dtype, **options)

    return make


def comparison(name: str) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        chosen = s.op(name, (x, s.numbers(0.0, dtype="float32")), s.shape(x), "bool")
        return s.op("SELECT_V2", (chosen, x, s.weights(4)), s.shape(x))

    return make


def window(name: str, size: int, stride: int, padding: str) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        rows = [-(-n // stride) if padding == "SAME" else -(-(n - size + 1) // stride) for n in s.shape(x)[1:3]]
        options = {"filter_height": size, "filter_width": size, "stride_h": stride, "stride_w": stride}
        return s.op(name, (x,), (1, *rows, 4), padding=padding, **options)

    return make


def reduction(name: str, axes: list[int], shape: tuple[int, ...], keep: bool) -> Case:
    return lambda s: s.op(name, (image(s), s.numbers(axes)), shape, keep_dims=keep)


def argument(name: str) -> Case:
    return lambda s: s.op("CAST", (s.op(name, (image(s), s.numbers(3)), (1, 9, 7), "int32", output_type=2),), (1, 9, 7))


def resize(name: str, rows: int, columns: int, **options: bool) -> Case:
    return lambda s: s.op(name, (image(s), s.numbers(rows, columns)), (1, rows, columns, 4), version=3, **options)


def moved(name: str, shape: tuple[int, ...], *parameters: Any, **options: Any) -> Case:
    """An operator on an image with channels first, then ReLU, so that what comes after it is held, too."""

    def make(s: Sketch) -> str:
        x = image(s)
        y = s.op(name, (x, *(s.numbers(p) for p in parameters)), shape, **options)
        return s.op("RELU", (y,), shape)

    return make


def depthwise(multiplier: int, stride: int, dilation: int, padding: str) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        channels = 4 * multiplier
        span = 2 * dilation + 1
        rows = [-(-n // stride) if padding == "SAME" else -(-(n - span + 1) // stride) for n in s.shape(x)[1:3]]
        options = {"stride_h": stride, "stride_w": stride, "depth_multiplier": multiplier, "padding": padding}
        dilations = {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
        weights = (s.weights(1, 3, 3, channels), s.weights(channels))
        options["fused_activation_function"] = "RELU6"
        return s.op("DEPTHWISE_CONV_2D", (x, *weights), (1, *rows, channels), version=2, **options, **dilations)

    return make


def transpose_conv(kernel: int, stride: int, padding: str) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        size = [n * stride if padding == "SAME" else (n - 1) * stride + max(kernel, stride) for n in s.shape(x)[1:3]]
        weights = (s.weights(5, kernel, kernel, 4), x, s.weights(5))
        options = {"padding": padding, "stride_h": stride, "stride_w": stride}
        return s.op("TRANSPOSE_CONV", (s.numbers(1, *size, 5), *weights), (1, *size, 5), version=3, **options)

    return make


def grouped(s: Sketch) -> str:
    x = image(s, 6)
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    return s.op("CONV_2D", (x, s.weights(4, 3, 3, 3), s.weights(4)), (1, 9, 7, 4), version=6, **options)


def dense_on_flat(s: Sketch) -> str:
    x = image(s)
    flat = s.op("RESHAPE", (x, s.numbers(1, 252)), (1, 252))
    return s.op("FULLY_CONNECTED", (flat, s.weights(5, 252), s.weights(5)), (1, 5), fused_activation_function="RELU")


def dense_on_image(s: Sketch) -> str:
    return s.op("FULLY_CONNECTED", (image(s), s.weights(5, 252), s.weights(5)), (1, 5))


def dense_by_position(s: Sketch) -> str:
    inputs = (image(s), s.weights(5, 4), s.weights(5))
    return s.op("FULLY_CONNECTED", inputs, (1, 9, 7, 5), version=5, keep_num_dims=True)


def dense_by_token(s: Sketch) -> str:
    tokens = s.op("RESHAPE", (image(s), s.numbers(1, 63, 4)), (1, 63, 4))
    inputs = (tokens, s.weights(5, 4), s.weights(5))
    return s.op("FULLY_CONNECTED", inputs, (1, 63, 5), version=5, keep_num_dims=True)


def dense_on_rows(s: Sketch) -> str:
    return s.op("FULLY_CONNECTED", (image(s), s.weights(5, 4), ""), (63, 5), version=6)


def attention(s: Sketch) -> str:
    tokens = s.op("RESHAPE", (image(s), s.numbers(1, 63, 4)), (1, 63, 4))
    heads = s.op("RESHAPE", (tokens, s.numbers(1, 63, 2, 2)), (1, 63, 2, 2))
    turned = s.op("TRANSPOSE", (heads, s.numbers(0, 2, 1, 3)), (1, 2, 63, 2))
    scores = s.op("BATCH_MATMUL", (turned, turned), (1, 2, 63, 63), adj_y=True)
    weights = s.op("SOFTMAX", (scores,), (1, 2, 63, 63), beta=0.5)
    mixed = s.op("BATCH_MATMUL", (weights, turned), (1, 2, 63, 2))
    back = s.op("TRANSPOSE", (mixed, s.numbers(0, 2, 1, 3)), (1, 63, 2, 2))
    return s.op("RESHAPE", (back, s.numbers(1, 63, 4)), (1, 63, 4))


def one_dimensional(s: Sketch) -> str:
    """How converters write convolutions over time: each between EXPAND_DIMS and SQUEEZE."""
    x = s.op("RESHAPE", (image(s), s.numbers(1, 63, 4)), (1, 63, 4))
    for _ in range(2):
        wide = s.op("EXPAND_DIMS", (x, s.numbers(1)), (1, 1, 63, 4))
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
        y = s.op("CONV_2D", (wide, s.weights(4, 1, 3, 4), s.weights(4)), (1, 1, 63, 4), **options)
        x = s.op("RELU", (s.op("SQUEEZE", (y,), (1, 63, 4), squeeze_dims=(1,)),), (1, 63, 4))
    return x


def squeeze_and_excite(s: Sketch) -> str:
    x = image(s)
    mean = s.op("MEAN", (x, s.numbers(1, 2)), (1, 4), keep_dims=False)
    gate = s.op("LOGISTIC", (s.op("FULLY_CONNECTED", (mean, s.weights(4, 4), s.weights(4)), (1, 4)),), (1, 4))
    wide = s.op("RESHAPE", (gate, s.numbers(1, 1, 1, 4)), (1, 1, 1, 4))
    return s.op("MUL", (x, wide), s.shape(x), fused_activation_function="RELU6")


def two_ranks(s: Sketch) -> str:
    x = image(s)
    mean = s.op("MEAN", (x, s.numbers(1, 2)), (1, 4), keep_dims=False)
    return s.op("SUB", (x, mean), s.shape(x), fused_activation_function="RELU_N1_TO_1")


def detection_heads(s: Sketch) -> str:
    x = image(s, 6)
    parts = [s.op("RESHAPE", (s.conv(x, 6, 1), s.numbers(1, 126, 3)), (1, 126, 3)) for _ in range(2)]
    return s.op("CONCATENATION", tuple(parts), (1, 252, 3), axis=1)


def joined(axis: int, shape: tuple[int, ...]) -> Case:
    def make(s: Sketch) -> str:
        x = image(s)
        return s.op("CONCATENATION", (x, s.op("ABS", (x,), s.shape(x))), shape, axis=axis)

    return make


def padded_and_strided(s: Sketch) -> str:
    x = image(s)
    wide = s.op("PAD", (x, s.numbers([[0, 0], [1, 2], [0, 1], [0, 0]])), (1, 12, 8, 4))
    options = {"padding": "VALID", "stride_h": 2, "stride_w": 2, "dilation_h_factor": 1, "dilation_w_factor": 1}
    return s.op("CONV_2D", (wide, s.weights(4, 3, 3, 4), s.weights(4)), (1, 5, 3, 4), **options)


def padded_channels(s: Sketch) -> str:
    x = image(s)
    wide = s.op("PAD", (x, s.numbers([[0, 0], [0, 0], [0, 0], [0, 4]])), (1, 9, 7, 8))
    return s.op("ADD", (wide, s.conv(x, 8)), (1, 9, 7, 8), fused_activation_function="RELU")


def padded_with(s: Sketch) -> str:
    inputs = (image(s), s.numbers([[0, 0], [1, 0], [2, 1], [0, 0]]), s.numbers(-2.0, dtype="float32"))
    return s.op("PADV2", inputs, (1, 10, 10, 4))


def halves(s: Sketch) -> str:
    x = image(s)
    outputs = (s.tensor((1, 9, 7, 2)), s.tensor((1, 9, 7, 2)))
    s.ops.append(Op("SPLIT", (s.numbers(3), x), outputs, {"num_splits": 2}))
    return s.op("SUB", outputs, (1, 9, 7, 2))


def uneven_parts(s: Sketch) -> str:
    x = image(s)
    outputs = (s.tensor((1, 2, 7, 4)), s.tensor((1, 7, 7, 4)))
    s.ops.append(Op("SPLIT_V", (x, s.numbers(2, 7), s.numbers(1)), outputs, {"num_splits": 2}))
    return s.op("CONCATENATION", outputs[::-1], (1, 9, 7, 4), axis=1)


def rows_apart(s: Sketch) -> str:
    x = s.op("MEAN", (image(s), s.numbers(2)), (1, 9, 4), keep_dims=False)
    outputs = tuple(s.tensor((1, 4)) for _ in range(9))
    s.ops.append(Op("UNPACK", (x,), outputs, {"num": 9, "axis": 1}))
    return s.op("PACK", outputs[::-1], (1, 9, 4), values_count=9, axis=1)


def dilated_by_batches(s: Sketch) -> str:
    x = image(s)
    dealt = s.op("SPACE_TO_BATCH_ND", (x, s.numbers(2, 2), s.numbers([[2, 3], [2, 3]])), (4, 7, 6, 4))
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    y = s.op("CONV_2D", (dealt, s.weights(4, 3, 3, 4), s.weights(4)), (4, 5, 4, 4), **options)
    return s.op("BATCH_TO_SPACE_ND", (y, s.numbers(2, 2), s.numbers([[0, 1], [0, 1]])), (1, 9, 7, 4))


def float16_weights(s: Sketch) -> str:
    x = s.input(*IMAGE)
    weights = s.op("DEQUANTIZE", (s.weights(4, 3, 3, 3, dtype="float16"),), (4, 3, 3, 3))
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    return s.op("CONV_2D", (x, weights, s.weights(4)), (1, 9, 7, 4), **options)


def folded_shape(s: Sketch) -> str:
    x = image(s)
    shape = s.op("SHAPE", (x,), (4,), "int32", out_type=2)
    ends = (s.numbers([0]), s.numbers([1]), s.numbers([1]))
    batch = s.op("STRIDED_SLICE", (shape, *ends), (), "int32", shrink_axis_mask=1)
    wanted = s.op("PACK", (batch, s.numbers(252)), (2,), "int32", values_count=2, axis=0)
    return s.op("RELU", (s.op("RESHAPE", (x, wanted), (1, 252)),), (1, 252))


def prelu(*shape: int) -> Case:
    return lambda s: s.op("PRELU", (image(s), s.weights(*shape)), (1, 9, 7, 4))


def channels_first_file(s: Sketch) -> str:
    """As converters from PyTorch write it: the input has channels first, and so has the output."""
    x = s.op("TRANSPOSE", (s.input(1, 3, 9, 7), s.numbers(0, 2, 3, 1)), IMAGE)
    return s.op("TRANSPOSE", (s.conv(x, 4), s.numbers(0, 3, 1, 2)), (1, 4, 9, 7))


def gathered(s: Sketch) -> str:
    return s.op("GATHER", (image(s), s.numbers(3, 0, 0)), (1, 9, 7, 3), axis=3)


def looked_up(s: Sketch) -> str:
    places = s.numbers([[0, 2, 1], [0, 8, 6]])
    return s.op("GATHER_ND", (image(s), places), (2, 4))


CASES: dict[str, Case] = {
    "CONV_2D": lambda s: s.conv(image(s), 5, stride=2, fused_activation_function="RELU"),
    "CONV_2D grouped": grouped,
    "CONV_2D after PAD": padded_and_strided,
    "CONV_2D float16": float16_weights,
    "DEPTHWISE_CONV_2D": depthwise(1, 2, 1, "SAME"),
    "DEPTHWISE_CONV_2D multiplied": depthwise(2, 1, 2, "VALID"),
    "TRANSPOSE_CONV": transpose_conv(3, 2, "SAME"),
    "TRANSPOSE_CONV small": transpose_conv(2, 3, "VALID"),
    "TRANSPOSE_CONV valid": transpose_conv(4, 2, "VALID"),
    "FULLY_CONNECTED flat": dense_on_flat,
    "FULLY_CONNECTED image": dense_on_image,
    "FULLY_CONNECTED positions": dense_by_position,
    "FULLY_CONNECTED tokens": dense_by_token,
    "FULLY_CONNECTED rows": dense_on_rows,
    "BATCH_MATMUL": attention,
    "EXPAND_DIMS, SQUEEZE": one_dimensional,
    "SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND": dilated_by_batches,
    "SHAPE": folded_shape,
    "AVERAGE_POOL_2D": window("AVERAGE_POOL_2D", 3, 2, "SAME"),
    "AVERAGE_POOL_2D valid": window("AVERAGE_POOL_2D", 2, 2, "VALID"),
    "MAX_POOL_2D": window("MAX_POOL_2D", 3, 2, "SAME"),
    "MAX_POOL_2D far": window("MAX_POOL_2D", 2, 3, "SAME"),
    "L2_POOL_2D": window("L2_POOL_2D", 3, 1, "VALID"),
    "MEAN": reduction("MEAN", [1, 2], (1, 4), False),
    "MEAN kept": reduction("MEAN", [1, 2], (1, 1, 1, 4), True),
    "SUM": reduction("SUM", [3], (1, 9, 7), False),
    "REDUCE_MAX": reduction("REDUCE_MAX", [1], (1, 7, 4), False),
    "REDUCE_MIN": reduction("REDUCE_MIN", [-1], (1, 9, 7, 1), True),
    "REDUCE_PROD": reduction("REDUCE_PROD", [2, 3], (1, 9), False),
    "ARG_MAX": argument("ARG_MAX"),
    "ARG_MIN": argument("ARG_MIN"),
    "ADD": squeeze_and_excite,
    "SUB": two_ranks,
    "MUL": binary("MUL", (9, 7, 1)),
    "DIV": binary("DIV"),
    "MAXIMUM": binary("MAXIMUM", (1, 1, 1, 4)),
    "MINIMUM": binary("MINIMUM", ()),
    "SQUARED_DIFFERENCE": binary("SQUARED_DIFFERENCE"),
    "FLOOR_DIV": binary("FLOOR_DIV"),
    "FLOOR_MOD": binary("FLOOR_MOD"),
    "POW": lambda s: s.op("POW", (unary("ABS")(s), s.numbers(1.5, dtype="float32")), (1, 9, 7, 4)),
    "ADD_N": lambda s: s.op("ADD_N", (x := image(s), s.conv(x, 4), s.conv(x, 4)), (1, 9, 7, 4)),
    **{name: comparison(name) for name in ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")},
    **{name: unary(name) for name in (
        "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1",
        "RELU_0_TO_1", "ROUND", "SIGN", "SIN", "TANH", "SQUARE", "LOG_SOFTMAX", "L2_NORMALIZATION",
    )},
    "GELU": unary("GELU", approximate=False),
    "GELU approximate": unary("GELU", approximate=True),
    "LEAKY_RELU": unary("LEAKY_RELU", alpha=0.2),
    "SOFTMAX": unary("SOFTMAX", beta=1.0),
    "LOCAL_RESPONSE_NORMALIZATION": unary("LOCAL_RESPONSE_NORMALIZATION", radius=1, bias=1.0, alpha=0.5, beta=0.75),
    **{name: unary(name, positive=True) for name in ("LOG", "SQRT", "RSQRT")},
    "PRELU": prelu(1, 1, 4),
    "PRELU everywhere": prelu(9, 7, 4),
    "RESIZE_BILINEAR": resize("RESIZE_BILINEAR", 18, 14),
    "RESIZE_BILINEAR corners": resize("RESIZE_BILINEAR", 20, 11, align_corners=True),
    "RESIZE_BILINEAR half": resize("RESIZE_BILINEAR", 5, 15, half_pixel_centers=True),
    "RESIZE_NEAREST_NEIGHBOR": resize("RESIZE_NEAREST_NEIGHBOR", 27, 14),
    "RESIZE_NEAREST_NEIGHBOR uneven": resize("RESIZE_NEAREST_NEIGHBOR", 5, 11),
    "RESIZE_NEAREST_NEIGHBOR half": resize("RESIZE_NEAREST_NEIGHBOR", 13, 5, half_pixel_centers=True),
    "RESIZE_NEAREST_NEIGHBOR corners": resize("RESIZE_NEAREST_NEIGHBOR", 13, 5, align_corners=True),
    "PAD": padded_channels,
    "PADV2": padded_with,
    "MIRROR_PAD": moved("MIRROR_PAD", (1, 12, 8, 4), [[0, 0], [1, 2], [0, 1], [0, 0]], mode=0),
    "MIRROR_PAD symmetric": moved("MIRROR_PAD", (1, 12, 8, 4), [[0, 0], [1, 2], [0, 1], [0, 0]], mode=1),
    "RESHAPE": detection_heads,
    "TRANSPOSE": moved("TRANSPOSE", (1, 4, 7, 9), [0, 3, 2, 1]),
    "TRANSPOSE of a file with channels first": channels_first_file,
    "CONCATENATION": joined(3, (1, 9, 7, 8)),
    "CONCATENATION rows": joined(1, (1, 18, 7, 4)),
    "STRIDED_SLICE": moved("STRIDED_SLICE", (1, 4, 7, 4), [0, 1, 0, 0], [0, 9, 0, 0], [1, 2, 1, 1], begin_mask=13,
                           end_mask=13),
    "STRIDED_SLICE shrunk": moved("STRIDED_SLICE", (1, 7, 4), [0, -1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], begin_mask=13,
                                  end_mask=13, shrink_axis_mask=2),
    "STRIDED_SLICE backwards": moved("STRIDED_SLICE", (1, 9, 7, 4), [0, 0, 0, 0], [0, 0, 0, 0], [1, -1, 1, 1],
                                     begin_mask=15, end_mask=15),
    "SLICE": moved("SLICE", (1, 3, 7, 2), [0, 2, 0, 1], [1, 3, -1, 2]),
    "REVERSE_V2": moved("REVERSE_V2", (1, 9, 7, 4), [3]),
    "SPLIT": halves,
    "SPLIT_V": uneven_parts,
    "UNPACK, PACK": rows_apart,
    "TILE": moved("TILE", (1, 9, 14, 12), [1, 1, 2, 3]),
    "BROADCAST_TO": lambda s: s.op(
        "BROADCAST_TO", (reduction("MEAN", [1, 2], (1, 1, 1, 4), True)(s), s.numbers(1, 5, 6, 4)), (1, 5, 6, 4),
        version=2,
    ),
    "GATHER": gathered,
    "GATHER_ND": looked_up,
    "DEPTH_TO_SPACE": moved("DEPTH_TO_SPACE", (1, 18, 14, 1), block_size=2),
    "SPACE_TO_DEPTH": lambda s: s.op(
        "SPACE_TO_DEPTH", (s.conv(s.input(1, 8, 6, 3), 4),), (1, 4, 3, 16), block_size=2
    ),
    "CUMSUM": moved("CUMSUM", (1, 9, 7, 4), 1, exclusive=True, reverse=True),
}  # fmt: skip
