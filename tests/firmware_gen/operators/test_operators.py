"""Every operator: numpy reference, generated C and tflite-runtime's reference kernels give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.inspection.reference import evaluate_sequence
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.passes.fold_padding import fold_padding
from multigraft.firmware_gen.program.program import load
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Quant, Tensor
from tests.firmware_gen.host import compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, ints, out_size, pair, remembering, single
from tests.firmware_gen.operators.binary_models import BINARY
from tests.firmware_gen.operators.more_models import MORE
from tests.firmware_gen.operators.recurrent_models import RECURRENT

CASES = 60


def conv(depth: int, channels: int, size: tuple[int, int] = (7, 6), **options: object) -> bytes:
    b = Builder(depth + channels)
    b.add(activation("in", (1, *size, depth), 0.03, -7))
    b.conv("out", "in", channels, **options)  # type: ignore[arg-type]
    return b.model(["in"], ["out"])


def dense(rows: int, depth: int, units: int, per_channel: bool = False) -> bytes:
    b = Builder(depth)
    b.add(activation("in", (rows, depth), 0.03, 11))
    b.dense("out", "in", units, per_channel=per_channel)
    return b.model(["in"], ["out"])


def binary(op: str, fused: str, scales: tuple[float, float, float], zero_points: tuple[int, int, int]) -> bytes:
    a, b, out = (
        activation(n, (1, 4, 5, 9), s, z) for n, s, z in zip("abc", scales, zero_points, strict=True)
    )  # fmt: skip
    return single(op, [a, b], out, 2, fused_activation_function=fused)


def broadcast(op: str, a: tuple[int, ...], b: tuple[int, ...], constant: str = "", fused: str = "NONE") -> bytes:
    operands = [activation("a", a, 0.031, 12), activation("b", b, 0.077, -5)]
    values = np.random.default_rng(3).integers(-128, 128, a if constant == "a" else b).astype(np.int8)
    operands = [replace(t, data=values) if t.name == constant else t for t in operands]
    out = activation("out", np.broadcast_shapes(a, b), 0.06, 3)
    return single(op, operands, out, 2, fused_activation_function=fused)


def pool(
    op: str,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int | tuple[int, int],
    padding: str,
    fused: str = "NONE",
) -> bytes:
    source, strides = activation("in", (1, *size, 5), 0.04, -20), pair(stride)
    out = [out_size(n, k, s, 1, padding) for n, k, s in zip(size, kernel, strides, strict=True)]
    return single(
        op, [source], activation("out", (1, *out, 5), 0.04, -20), 2, padding=padding, stride_h=strides[0],
        stride_w=strides[1], filter_height=kernel[0], filter_width=kernel[1], fused_activation_function=fused,
    )  # fmt: skip


def mean(size: tuple[int, int], out_scale: float, out_zero: int, keep: bool = False) -> bytes:
    shape = (1, 1, 1, 6) if keep else (1, 6)
    source = activation("in", (1, *size, 6), 0.05, -11)
    return single(
        "MEAN", [source, ints("axes", [1, 2])], activation("out", shape, out_scale, out_zero), 2, keep_dims=keep
    )


def unary(op: str, source: tuple[float, int], result: tuple[float, int], version: int = 1, **options: float) -> bytes:
    ends = activation("in", (1, 16, 16), *source), activation("out", (1, 16, 16), *result)
    return single(op, [ends[0]], ends[1], version, **options)


def resize(size: tuple[int, int], align_corners: bool, half_pixel: bool) -> bytes:
    source = activation("in", (1, 5, 4, 3))
    return single(
        "RESIZE_NEAREST_NEIGHBOR", [source, ints("size", list(size))], activation("out", (1, *size, 3)), 3,
        align_corners=align_corners, half_pixel_centers=half_pixel,
    )  # fmt: skip


def sliced() -> bytes:
    bounds = [ints("begin", [0, 1, -2, 0]), ints("end", [1, 6, 9, 3]), ints("strides", [1, 2, 1, 2])]
    source = activation("in", (1, 7, 5, 4))
    return single(
        "STRIDED_SLICE", [source, *bounds], activation("out", (1, 3, 2, 2)), 2, begin_mask=0, end_mask=0,
        ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0,
    )  # fmt: skip


def concatenated(axis: int) -> bytes:
    shapes = [(1, 3, 4, 2), (1, 3, 4, 3)] if axis == 3 else [(1, 3, 4, 2), (1, 1, 4, 2)]
    out = (1, 3, 4, 5) if axis == 3 else (1, 4, 4, 2)
    parts = [activation(n, s) for n, s in zip("ab", shapes, strict=True)]
    return single("CONCATENATION", parts, activation("out", out), 2, axis=axis, fused_activation_function="NONE")


def transposed(
    stride: int | tuple[int, int], padding: str, out: tuple[int, int], bias: bool, kernel: tuple[int, int] = (3, 3)
) -> bytes:
    strides = pair(stride)
    b = Builder(strides[1])
    b.add(activation("in", (1, 4, 5, 3), 0.03, -7))
    b.add(ints("shape", [1, *out, 6]))
    values = b.random.integers(-127, 128, (6, *kernel, 3)).astype(np.int8)
    steps = tuple(float(s) for s in b.random.uniform(0.002, 0.006, 6).astype(np.float32))
    b.add(Tensor("w", values.shape, "int8", Quant(steps, (0,) * 6), values))
    inputs = ["shape", "w", "in"]
    if bias:
        offsets = b.random.integers(-9000, 9000, 6).astype(np.int32)
        inputs.append(b.add(Tensor("b", (6,), "int32", Quant((1e-4,) * 6, (0,) * 6), offsets)))
    b.plain(
        "TRANSPOSE_CONV", "out", inputs, activation("", (1, *out, 6), 0.06, 5), padding=padding,
        stride_h=strides[0], stride_w=strides[1],
    )  # fmt: skip
    return b.model(["in"], ["out"])


def floats(shape: tuple[int, ...], seed: int) -> Array:
    """float32 of all sizes below 2^31 scales, zeros, and halves of scales among them."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (CASES, *shape)) * 10.0 ** random.integers(-9, 4, (CASES, *shape))
    values[0], values[1] = 0, -0.0
    steps = (random.integers(-300, 300, shape) + 0.5).astype(np.float32)
    values[2], values[3] = steps * np.float32(0.043), steps * np.float32(1e-5)
    values[4], values[5] = (np.nextafter(values[n].astype(np.float32), np.float32(0)) for n in (2, 3))
    return values.astype(np.float32)


MODELS: dict[str, Callable[[], bytes]] = {
    "conv 3x3": lambda: conv(8, 8),
    "conv 3x3 of 3 channels": lambda: conv(3, 6),
    "conv 3x3 without activation": lambda: conv(5, 7, fused="NONE", zero_point=9, scale=0.11),
    "conv stride 2": lambda: conv(4, 4, stride=2),
    "conv valid": lambda: conv(4, 5, padding="VALID", fused="RELU6", scale=0.03),
    "conv dilated": lambda: conv(4, 5, size=(9, 8), dilation=2),
    "conv dilated of 3 channels": lambda: conv(3, 4, size=(9, 8), dilation=2, fused="RELU_N1_TO_1", zero_point=0),
    "conv 1x1": lambda: conv(12, 16, kernel=(1, 1)),
    "conv 1x1 to more": lambda: conv(3, 9, kernel=(1, 1), fused="NONE", zero_point=-3),
    "conv 10x4 of 1 channel": lambda: conv(1, 8, size=(25, 10), kernel=(10, 4), stride=2),
    "depthwise without bias": lambda: conv(4, 4, depthwise=True, bias=False),
    "depthwise": lambda: conv(8, 8, depthwise=True),
    "depthwise odd": lambda: conv(5, 5, size=(6, 7), depthwise=True, fused="RELU6", scale=0.02),
    "depthwise stride 2": lambda: conv(6, 6, depthwise=True, stride=2),
    "depthwise 5x5 multiplied": lambda: conv(3, 6, kernel=(5, 5), depthwise=True),
    "depthwise over the whole image": lambda: conv(10, 10, size=(7, 6), kernel=(7, 6), depthwise=True, padding="VALID"),
    "depthwise stride 3": lambda: conv(6, 6, size=(11, 14), depthwise=True, stride=3, fused="NONE", zero_point=9),
    "depthwise along a row": lambda: conv(5, 5, size=(1, 29), kernel=(1, 9), depthwise=True),
    "depthwise along a column": lambda: conv(4, 4, (23, 3), kernel=(5, 1), depthwise=True, fused="RELU6", scale=0.03),
    "depthwise of few outputs, multiplied": lambda: conv(3, 12, (5, 5), kernel=(4, 5), depthwise=True, stride=2),
    "depthwise in bands": lambda: conv(2, 2, (30, 40), depthwise=True, zero_point=-100),
    "depthwise 4x4 in bands": lambda: conv(2, 2, (26, 41), kernel=(4, 4), depthwise=True, stride=(1, 2)),
    "depthwise dilated": lambda: conv(3, 3, size=(12, 15), kernel=(3, 3), depthwise=True, dilation=(3, 2)),
    "depthwise of 1 channel": lambda: conv(1, 8, (12, 10), kernel=(5, 4), depthwise=True, stride=2),
    "depthwise without activation": lambda: conv(4, 4, depthwise=True, fused="NONE", zero_point=20),
    "depthwise valid": lambda: conv(4, 4, depthwise=True, padding="VALID"),
    "dense": lambda: dense(1, 37, 10),
    "dense per channel": lambda: dense(1, 64, 10, per_channel=True),
    "dense on rows": lambda: dense(3, 8, 12),
    "dense, two outputs of many inputs": lambda: dense(1, 261, 2),
    "add": lambda: binary("ADD", "RELU", (0.04, 0.1, 0.05), (-128, 4, -128)),
    "add without activation": lambda: binary("ADD", "NONE", (0.031, 0.077, 0.06), (12, -5, 3)),
    "sub": lambda: binary("SUB", "NONE", (0.031, 0.077, 0.06), (12, -5, 3)),
    "mul": lambda: binary("MUL", "RELU6", (0.031, 0.077, 0.03), (12, -5, -128)),
    "add of a constant": lambda: broadcast("ADD", (1, 4, 5, 9), (1, 4, 5, 9), "b"),
    "add of a number": lambda: broadcast("ADD", (1, 4, 5, 9), (1,), "b"),
    "sub of channels": lambda: broadcast("SUB", (1, 4, 5, 9), (9,)),
    "sub from a constant": lambda: broadcast("SUB", (9,), (1, 4, 5, 9), "a", "RELU"),
    "mul by channels": lambda: broadcast("MUL", (1, 4, 5, 9), (1, 1, 1, 9), "b", "RELU6"),
    "mul of pixels": lambda: broadcast("MUL", (1, 4, 5, 9), (1, 4, 5, 1)),
    "mul by a mask": lambda: broadcast("MUL", (1, 1, 5, 1), (1, 4, 1, 3)),
    "average pool": lambda: pool("AVERAGE_POOL_2D", (7, 8), (3, 2), 2, "SAME", "NONE"),
    "average pool global": lambda: pool("AVERAGE_POOL_2D", (6, 5), (6, 5), 1, "VALID", "RELU"),
    "max pool": lambda: pool("MAX_POOL_2D", (7, 8), (2, 3), 2, "SAME", "RELU6"),
    "mean": lambda: mean((5, 4), 0.05, -11),
    "mean rescaled": lambda: mean((7, 7), 0.031, 5),
    "mean kept": lambda: mean((3, 8), 0.06, -1, keep=True),
    "relu": lambda: unary("RELU", (0.05, 3), (0.03, -128), 2),
    "relu6": lambda: unary("RELU6", (0.07, 3), (0.0235, -128), 2),
    "relu 0 to 1": lambda: unary("RELU_0_TO_1", (0.02, 3), (0.0075, -90)),
    "relu -1 to 1": lambda: unary("RELU_N1_TO_1", (0.02, 3), (0.0135, -9)),
    "leaky relu": lambda: unary("LEAKY_RELU", (0.05, 3), (0.03, -20), 2, alpha=0.1),
    "leaky relu growing": lambda: unary("LEAKY_RELU", (0.013, -30), (0.021, 77), 2, alpha=1.7),
    "hard swish": lambda: unary("HARD_SWISH", (0.05, 3), (0.03, -110)),
    "hard swish wide": lambda: unary("HARD_SWISH", (0.31, -11), (0.29, -127)),
    "hard swish narrow": lambda: unary("HARD_SWISH", (0.0071, 90), (0.0035, 60)),
    "hard swish of small values": lambda: unary("HARD_SWISH", (0.0006, 0), (0.0003, 0)),
    "logistic": lambda: unary("LOGISTIC", (0.06, 9), (1 / 256, -128), 2),
    "logistic steep": lambda: unary("LOGISTIC", (0.3, -4), (1 / 256, -128), 2),
    "tanh": lambda: unary("TANH", (0.025, 9), (1 / 128, 0), 2),
    "quantize": lambda: unary("QUANTIZE", (0.05, -3), (0.043, 7), 2),
    "quantize floats": lambda: single(
        "QUANTIZE", [Tensor("in", (1, 16, 16))], activation("out", (1, 16, 16), 0.043, 7), 1
    ),
    "quantize small floats": lambda: single(
        "QUANTIZE", [Tensor("in", (1, 16, 16))], activation("out", (1, 16, 16), 1e-5, -128), 1
    ),
    "dequantize": lambda: single(
        "DEQUANTIZE", [activation("in", (1, 16, 16), 0.0437, -3)], Tensor("out", (1, 16, 16)), 2
    ),
    "softmax": lambda: single(
        "SOFTMAX", [activation("in", (2, 13), 0.14, 14)], activation("out", (2, 13), 1 / 256), 2, beta=1.0
    ),
    "softmax of few values": lambda: single(
        "SOFTMAX", [activation("in", (2, 5), 0.03, 14)], activation("out", (2, 5), 1 / 256), 2, beta=1.0
    ),
    "softmax of two values, flat": lambda: single(
        "SOFTMAX", [activation("in", (1, 2), 0.0008, -3)], activation("out", (1, 2), 1 / 256), 2, beta=0.9
    ),
    "softmax flat": lambda: single(
        "SOFTMAX", [activation("in", (1, 40), 0.003, 0)], activation("out", (1, 40), 1 / 256), 2, beta=0.7
    ),
    "pad": lambda: single(
        "PAD", [activation("in", (1, 4, 5, 3)), ints("paddings", [[0, 0], [1, 2], [0, 3], [1, 0]])],
        activation("out", (1, 7, 8, 4)), 2,
    ),
    "reshape": lambda: single(
        "RESHAPE", [activation("in", (1, 4, 5, 3)), ints("shape", [1, 60])], activation("out", (1, 60))
    ),
    "squeeze": lambda: single(
        "SQUEEZE", [activation("in", (1, 4, 1, 3))], activation("out", (4, 3)), squeeze_dims=(0, 2)
    ),
    "squeeze all": lambda: single("SQUEEZE", [activation("in", (1, 1, 7, 1))], activation("out", (7,))),
    "expand dims": lambda: single(
        "EXPAND_DIMS", [activation("in", (4, 3)), ints("axis", [1])], activation("out", (4, 1, 3))
    ),
    "expand dims at the end": lambda: single(
        "EXPAND_DIMS", [activation("in", (4, 3)), ints("axis", [-1])], activation("out", (4, 3, 1))
    ),
    "transpose": lambda: single(
        "TRANSPOSE", [activation("in", (1, 4, 5, 3)), ints("order", [0, 3, 1, 2])], activation("out", (1, 3, 4, 5)), 2
    ),
    "transpose trivial": lambda: single(
        "TRANSPOSE", [activation("in", (1, 1, 5, 3)), ints("order", [0, 2, 1, 3])], activation("out", (1, 5, 1, 3)), 2
    ),
    "transposed conv": lambda: transposed(2, "SAME", (8, 10), False),
    "transposed conv valid": lambda: transposed(2, "VALID", (9, 11), True),
    "transposed conv of stride 1": lambda: transposed(1, "SAME", (4, 5), False),
    "concatenation": lambda: concatenated(3),
    "concatenation of rows": lambda: concatenated(1),
    "strided slice": sliced,
    "resize": lambda: resize((10, 8), False, False),
    "resize centred": lambda: resize((7, 9), False, True),
    "resize aligned": lambda: resize((9, 3), True, False),
}  # fmt: skip

UNEQUAL: dict[str, Callable[[], bytes]] = {
    "conv strides": lambda: conv(4, 5, (9, 11), stride=(2, 3)),
    "conv strides valid": lambda: conv(3, 4, (11, 9), stride=(3, 1), padding="VALID"),
    "conv kernel and strides": lambda: conv(2, 6, (10, 13), kernel=(2, 5), stride=(1, 4)),
    "conv dilations": lambda: conv(4, 5, (9, 12), dilation=(1, 3)),
    "conv dilations down": lambda: conv(4, 5, (12, 9), dilation=(3, 1), padding="VALID"),
    "conv kernel and dilations": lambda: conv(3, 4, (13, 12), kernel=(4, 2), dilation=(2, 5)),
    "conv 1x1 strides": lambda: conv(4, 8, (9, 7), kernel=(1, 1), stride=(3, 2)),
    "depthwise strides": lambda: conv(4, 4, (9, 11), depthwise=True, stride=(2, 3)),
    "depthwise strides down": lambda: conv(5, 5, (11, 9), depthwise=True, stride=(3, 1), padding="VALID"),
    "depthwise kernel and strides": lambda: conv(3, 3, (8, 13), kernel=(5, 2), stride=(1, 2), depthwise=True),
    "depthwise dilations": lambda: conv(4, 4, (9, 12), depthwise=True, dilation=(1, 3)),
    "depthwise kernel and dilations": lambda: conv(4, 8, (13, 12), kernel=(2, 4), dilation=(4, 2), depthwise=True),
    "average pool": lambda: pool("AVERAGE_POOL_2D", (9, 11), (4, 2), (1, 3), "SAME"),
    "average pool valid": lambda: pool("AVERAGE_POOL_2D", (11, 9), (2, 5), (3, 2), "VALID"),
    "max pool": lambda: pool("MAX_POOL_2D", (9, 11), (2, 5), (3, 1), "SAME"),
    "max pool valid": lambda: pool("MAX_POOL_2D", (12, 9), (5, 2), (1, 4), "VALID"),
    "transposed conv strides": lambda: transposed((3, 1), "SAME", (12, 5), False),
    "transposed conv kernel": lambda: transposed((1, 2), "SAME", (4, 10), True, kernel=(2, 5)),
    "transposed conv valid": lambda: transposed((2, 4), "VALID", (10, 18), True, kernel=(4, 2)),
}
"""Height and width differ in the image, and in the kernel, the strides, the dilations or the paddings."""


@pytest.mark.parametrize("name", MODELS)
def test_operator_equals_the_reference_kernel(name: str, tmp_path: Path) -> None:
    assert_exact(MODELS[name](), tmp_path)


@pytest.mark.parametrize("name", UNEQUAL)
def test_height_and_width_are_told_apart(name: str, tmp_path: Path) -> None:
    assert_exact(UNEQUAL[name](), tmp_path)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("amounts", [(0, 3, 2, 1), (4, 1, 0, 2), (1, 0, 3, 0)])
def test_paddings_of_four_sides_are_told_apart(
    amounts: tuple[int, int, int, int], depthwise: bool, tmp_path: Path
) -> None:
    top, bottom, left, right = amounts
    b = Builder(7)
    b.add(activation("in", (1, 8, 9, 4), 0.03, -7))
    b.add(ints("amounts", [[0, 0], [top, bottom], [left, right], [0, 0]]))
    padded = activation("", (1, 8 + top + bottom, 9 + left + right, 4), 0.03, -7)
    b.plain("PAD", "padded", ["in", "amounts"], padded)
    b.conv("out", "padded", 4, kernel=(2, 3), stride=(2, 1), padding="VALID", depthwise=depthwise)
    model = b.model(["in"], ["out"])
    project = generate(model, core=M3)
    assert len(project.steps) == 1
    inputs = stimuli((1, 8, 9, 4), CASES)
    (wanted,) = reference(model, [inputs])
    np.testing.assert_array_equal(evaluated(model, inputs), wanted)
    (answer,) = run_host(compile_host(project, tmp_path), project, [inputs]).values()
    np.testing.assert_array_equal(answer, wanted)


def evaluated(model: bytes, inputs: Array) -> Array:
    """The one output by the operators' numpy references, after padding is folded into convolutions."""
    program = fold_padding(load(model))
    rows = evaluate_sequence(program, [{program.inputs[0].name: row} for row in inputs])
    return np.stack([next(iter(row.values())) for row in rows])


def assert_exact(model: bytes, folder: Path) -> None:
    """numpy, C and the reference interpreter give the same bits for a model of one operator."""
    program = load(model)
    inputs = [
        floats(t.shape, seed) if t.dtype == "float32" else stimuli(t.shape, CASES, seed)
        for seed, t in enumerate(program.inputs)
    ]
    (wanted,) = reference(model, inputs)

    (step,) = program.steps
    by_name = {t.name: i for t, i in zip(program.inputs, inputs, strict=True)}
    constants = [t if t is None else t.data for t in step.node.inputs]
    for case in range(CASES):
        values = [
            by_name[t.name][case] if t is not None and t.data is None else constant
            for t, constant in zip(step.node.inputs, constants, strict=True)
        ]
        np.testing.assert_array_equal(OPERATORS[step.node.name].reference(step.node, values), wanted[case])

    project = generate(model, core=M3)
    host = compile_host(project, folder)
    (answer,) = run_host(host, project, inputs).values()
    np.testing.assert_array_equal(answer, wanted)


def test_every_operator_is_tested() -> None:
    made = (*MODELS.values(), *MORE.values(), *RECURRENT.values(), *BINARY.values())
    tested = {step.node.name for make in made for step in load(make()).steps}
    elsewhere = {step.node.name for step in load(remembering()).steps}
    assert set(OPERATORS) == tested | elsewhere


def test_a_broken_constraint_is_named() -> None:
    program = load(MODELS["add"]())
    node = program.steps[0].node
    other = replace(node, inputs=(node.inputs[0], activation("b", (1, 1, 1, 8))))
    assert "broadcasting" in str(OPERATORS["ADD"].broken(other))
