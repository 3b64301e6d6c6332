"""Models of one operator each, of those beyond what small classifiers have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Tensor
from tests.firmware_gen.models import Builder, activation, f32, ints, single


def bytes_of(name: str, shape: tuple[int, ...], dtype: str, scale: float, zero_point: int) -> Tensor:
    return Tensor(name, shape, dtype, Quant((f32(scale),), (zero_point,)))


def constant(tensor: Tensor, seed: int = 3) -> Tensor:
    values = np.random.default_rng(seed).integers(-128, 128, tensor.shape).astype(np.int8)
    return replace(tensor, data=values)


def axis_of(number: int) -> Tensor:
    return Tensor("axis", (), "int32", None, np.array(number, np.int32))


def parted(op: str, inputs: list[Tensor], outputs: list[Tensor], version: int = 1, **options: OptionValue) -> bytes:
    """A model of one operator with several outputs."""
    given = [t.name for t in inputs if t.data is None]
    made = Op(op, tuple(t.name for t in inputs), tuple(t.name for t in outputs), options, version)
    graph = Graph.of("main", given, [t.name for t in outputs], [made], [*inputs, *outputs])
    return tflite_file.write(Model((graph,)))


def split(axis: int, parts: int, shape: tuple[int, ...] = (1, 4, 6, 3)) -> bytes:
    part = list(shape)
    part[axis] //= parts
    outputs = [activation(f"out{k}", tuple(part)) for k in range(parts)]
    return parted("SPLIT", [axis_of(axis), activation("in", shape)], outputs, 2, num_splits=parts)


def split_v(axis: int, sizes: list[int], shape: tuple[int, ...] = (1, 4, 7, 5)) -> bytes:
    outputs = [activation(f"out{k}", (*shape[: axis % 4], n, *shape[axis % 4 + 1 :])) for k, n in enumerate(sizes)]
    return parted(
        "SPLIT_V", [activation("in", shape), ints("sizes", sizes), axis_of(axis)], outputs, 2, num_splits=len(sizes)
    )


def reduced(
    op: str, axes: list[int], result: tuple[int, ...], scale: float = 0.05, zero: int = -11, keep: bool = False
) -> bytes:
    source = activation("in", (2, 5, 4, 6), 0.05, -11)
    return single(op, [source, ints("axes", axes)], activation("out", result, scale, zero), 2, keep_dims=keep)


def narrowed(model: bytes) -> bytes:
    """The model with the upper four bits of its weights, as int4."""
    graph = tflite_file.read(model).main
    tensors = dict(graph.tensors)
    (op,) = graph.ops
    weights = tensors[op.inputs[1]]
    assert weights.data is not None
    tensors[weights.name] = replace(weights, dtype="int4", data=(weights.data >> 4).astype(np.int8))
    return tflite_file.write(Model((replace(graph, tensors=tensors),)))


def convolved(depthwise: bool) -> bytes:
    b = Builder(11)
    b.add(activation("in", (1, 7, 6, 5), 0.03, -7))
    b.conv("out", "in", 5, depthwise=depthwise)
    return b.model(["in"], ["out"])


def dense() -> bytes:
    b = Builder(12)
    b.add(activation("in", (2, 37), 0.03, 11))
    b.dense("out", "in", 6, per_channel=True)
    return b.model(["in"], ["out"])


def log_softmax(shape: tuple[int, ...], scale: float, zero_point: int) -> bytes:
    return single("LOG_SOFTMAX", [activation("in", shape, scale, zero_point)], activation("out", shape, 1 / 16, 127), 2)


def extremum(op: str, other: tuple[int, ...], fixed: bool = False) -> bytes:
    operands = [activation("a", (1, 4, 5, 9), 0.04, 3), activation("b", other, 0.04, 3)]
    operands[1] = constant(operands[1]) if fixed else operands[1]
    return single(op, operands, activation("out", (1, 4, 5, 9), 0.04, 3), 2)


def prelu(slopes: tuple[int, ...], fixed: bool, scales: tuple[float, float, float] = (0.05, 0.011, 0.03)) -> bytes:
    source, slope = activation("in", (1, 4, 5, 6), scales[0], 9), activation("slopes", slopes, scales[1], -20)
    return single(
        "PRELU", [source, constant(slope) if fixed else slope], activation("out", (1, 4, 5, 6), scales[2], -7)
    )


def bilinear(size: tuple[int, int], align_corners: bool, half_pixel: bool, given: tuple[int, int] = (5, 4)) -> bytes:
    source = activation("in", (1, *given, 3))
    return single(
        "RESIZE_BILINEAR", [source, ints("size", list(size))], activation("out", (1, *size, 3)), 3,
        align_corners=align_corners, half_pixel_centers=half_pixel,
    )  # fmt: skip


def matmul(
    a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...], adj_y: bool = False, fixed: bool = False
) -> bytes:
    operands = [activation("a", a, 0.03, 5), activation("b", b, 0.02, -9)]
    operands[1] = constant(operands[1]) if fixed else operands[1]
    result = activation("out", out, 0.11, 2)
    return single("BATCH_MATMUL", operands, result, 3, adj_x=False, adj_y=adj_y)


def quantised(source: Tensor, result: Tensor, version: int = 2) -> bytes:
    return single("QUANTIZE", [source], result, version)


def packed(axis: int) -> bytes:
    shape = (2, 5, 3)
    out = [*shape]
    out.insert(axis % 4, 3)
    parts = [activation(n, shape) for n in "abc"]
    return single("PACK", parts, activation("out", tuple(out)), 2, axis=axis, values_count=3)


def gathered(axis: int, indices: list[int] | list[list[int]]) -> bytes:
    shape, places = (2, 5, 4), np.array(indices)
    out = (*shape[: axis % 3], *places.shape, *shape[axis % 3 + 1 :])
    return single("GATHER", [activation("in", shape), ints("places", indices)], activation("out", out), 2, axis=axis)


MORE: dict[str, Callable[[], bytes]] = {
    "quantize to uint8 of equal scale": lambda: quantised(
        activation("in", (1, 16, 16), 1 / 256, -128), bytes_of("out", (1, 16, 16), "uint8", 1 / 256, 0)
    ),
    "quantize to uint8": lambda: quantised(
        activation("in", (1, 16, 16), 0.05, -3), bytes_of("out", (1, 16, 16), "uint8", 0.043, 135)
    ),
    "quantize uint8 of equal scale": lambda: quantised(
        bytes_of("in", (1, 16, 16), "uint8", 0.02, 100), activation("out", (1, 16, 16), 0.02, -28)
    ),
    "quantize uint8": lambda: quantised(
        bytes_of("in", (1, 16, 16), "uint8", 0.05, 125), activation("out", (1, 16, 16), 0.043, 7)
    ),
    "quantize floats to uint8": lambda: quantised(
        Tensor("in", (1, 16, 16)), bytes_of("out", (1, 16, 16), "uint8", 0.043, 135), 1
    ),
    "dequantize uint8": lambda: single(
        "DEQUANTIZE", [bytes_of("in", (1, 16, 16), "uint8", 0.0437, 125)], Tensor("out", (1, 16, 16)), 2
    ),
    "split": lambda: split(2, 3),
    "split channels": lambda: split(3, 3),
    "split rows": lambda: split(1, 2),
    "split unevenly": lambda: split_v(2, [1, 4, 2]),
    "split channels unevenly": lambda: split_v(-1, [3, 2]),
    "unpack": lambda: parted(
        "UNPACK", [activation("in", (2, 3, 4))], [activation(f"out{k}", (2, 4)) for k in range(3)], 2, num=3, axis=1
    ),
    "pack": lambda: packed(1),
    "pack at the end": lambda: packed(-1),
    "slice": lambda: single(
        "SLICE", [activation("in", (1, 5, 6, 4)), ints("begin", [0, 1, 2, 0]), ints("size", [1, 3, -1, 2])],
        activation("out", (1, 3, 4, 2)), 2,
    ),
    "gather": lambda: gathered(1, [3, 0, 3, 4]),
    "gather at the end": lambda: gathered(-1, [[1, 0], [2, 2]]),
    "depth to space": lambda: single(
        "DEPTH_TO_SPACE", [activation("in", (1, 3, 4, 12))], activation("out", (1, 6, 8, 3)), 1, block_size=2
    ),
    "space to depth": lambda: single(
        "SPACE_TO_DEPTH", [activation("in", (1, 6, 8, 3))], activation("out", (1, 3, 4, 12)), 1, block_size=2
    ),
    "mean of channels": lambda: reduced("MEAN", [3], (2, 5, 4), 0.031, 4),
    "mean of rows": lambda: reduced("MEAN", [1], (2, 4, 6)),
    "mean of a batch": lambda: reduced("MEAN", [1, 2], (2, 6)),
    "mean of apart axes": lambda: reduced("MEAN", [0, 2], (1, 5, 1, 6), 0.027, keep=True),
    "mean of all": lambda: reduced("MEAN", [0, 1, 2, 3], (), 0.02),
    "sum of rows": lambda: reduced("SUM", [1], (2, 4, 6), 0.21, 9),
    "sum of pixels": lambda: reduced("SUM", [1, 2], (2, 1, 1, 6), 0.4, -30, keep=True),
    "conv of 4-bit weights": lambda: narrowed(convolved(False)),
    "depthwise of 4-bit weights": lambda: narrowed(convolved(True)),
    "dense of 4-bit weights": lambda: narrowed(dense()),
    "log softmax": lambda: log_softmax((3, 11), 0.07, -12),
    "log softmax steep": lambda: log_softmax((1, 40), 0.9, 5),
    "greatest of channels": lambda: reduced("REDUCE_MAX", [3], (2, 5, 4)),
    "greatest of pixels": lambda: reduced("REDUCE_MAX", [1, 2], (2, 6)),
    "least of rows": lambda: reduced("REDUCE_MIN", [1], (2, 1, 4, 6), keep=True),
    "maximum": lambda: extremum("MAXIMUM", (1, 4, 5, 9)),
    "maximum of channels": lambda: extremum("MAXIMUM", (9,), fixed=True),
    "minimum": lambda: extremum("MINIMUM", (1, 4, 5, 9), fixed=True),
    "minimum of a number": lambda: extremum("MINIMUM", (1,)),
    "prelu": lambda: prelu((1, 1, 6), fixed=True),
    "prelu per value": lambda: prelu((4, 5, 6), fixed=True),
    "prelu computed": lambda: prelu((1, 1, 6), fixed=False, scales=(0.02, 0.004, 0.021)),
    "bilinear": lambda: bilinear((10, 8), False, False),
    "bilinear centred": lambda: bilinear((7, 9), False, True),
    "bilinear aligned": lambda: bilinear((9, 7), True, False),
    "bilinear smaller": lambda: bilinear((3, 2), False, True, (8, 9)),
    "products of matrices": lambda: matmul((3, 4, 5), (3, 5, 6), (3, 4, 6)),
    "products with a constant": lambda: matmul((2, 4, 5), (5, 6), (2, 4, 6), fixed=True),
    "products with a turned matrix": lambda: matmul((1, 2, 4, 5), (1, 2, 3, 5), (1, 2, 4, 3), adj_y=True),
    "place of the greatest": lambda: single(
        "ARG_MAX", [activation("in", (2, 5, 7)), axis_of(-1)],
        Tensor("out", (2, 5), "int32"), 2, output_type=2,
    ),
    "place of the least": lambda: single(
        "ARG_MIN", [activation("in", (2, 5, 7)), axis_of(1)],
        Tensor("out", (2, 7), "int32"), 2, output_type=2,
    ),
}  # fmt: skip
