"""Models of one operator with a state each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Tensor
from tests.firmware_gen.models import activation, f32


def stateful(op: Op, inputs: list[Tensor], others: list[Tensor], output: Tensor) -> bytes:
    """A model of one operator; of its inputs those that are neither constant nor a state are the model's."""
    given = [t.name for t in inputs if t.data is None and not t.is_variable]
    return tflite_file.write(Model((Graph.of("main", given, [output.name], [op], [*inputs, *others, output]),)))


def _int16(name: str, shape: tuple[int, ...], scale: float) -> Tensor:
    return Tensor(name, shape, "int16", Quant((f32(scale),), (0,)))


def lstm(
    steps: int = 5,
    inputs: int = 6,
    cells: int = 7,
    *,
    seed: int = 0,
    scales: tuple[float, float, float] = (0.03, 0.0078, 0.006),
    zero_points: tuple[int, int] = (5, -3),
    cell_exponent: int = -11,
    clip: float = 0.0,
    input_gate: bool = True,
    time_major: bool = False,
    bias: int = 2000,
) -> bytes:
    """Scales are those of the input, of the output and its state, and of the weights."""
    random = np.random.default_rng(seed)
    shape = (steps, 1, inputs) if time_major else (1, steps, inputs)
    source = activation("in", shape, scales[0], zero_points[0])
    tensors: list[Tensor] = [source]
    names = ["in"] + [""] * 23
    for gate in range(0 if input_gate else 1, 4):
        for first, width in ((1, inputs), (5, cells)):
            values = random.integers(-127, 128, (cells, width)).astype(np.int8)
            scale = f32(scales[2] * random.uniform(0.4, 1.6))
            names[first + gate] = f"w{first + gate}"
            tensors.append(Tensor(f"w{first + gate}", values.shape, "int8", Quant((scale,)), values))
        values = random.integers(-bias, bias + 1, cells).astype(np.int32)
        names[12 + gate] = f"b{gate}"
        tensors.append(Tensor(f"b{gate}", values.shape, "int32", Quant((1e-4,)), values))
    states = [
        activation("state", (1, cells), scales[1], zero_points[1]),
        _int16("cell", (1, cells), 2.0**cell_exponent),
    ]
    names[18:20] = ["state", "cell"]
    tensors += [replace(t, is_variable=True) for t in states]
    inside = [_int16(f"inside{k}", (1,), 2.0**-12) for k in range(4)]
    inside.append(replace(activation("inside4", (1,), scales[1], zero_points[1])))
    options: dict[str, OptionValue] = {
        "fused_activation_function": "TANH", "cell_clip": clip, "proj_clip": 0.0, "time_major": time_major,
    }  # fmt: skip
    op = Op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", tuple(names), ("out",), options, 3, intermediates=tuple(t.name for t in inside)
    )
    output = activation("out", (*shape[:2], cells), scales[1], zero_points[1])
    return stateful(op, tensors, inside, output)


def svdf(
    inputs: int = 9,
    units: int = 6,
    rank: int = 2,
    times: int = 5,
    *,
    seed: int = 0,
    scales: tuple[float, float, float] = (0.03, 0.004, 0.08),
    zero_points: tuple[int, int] = (-7, 4),
    bias: bool = True,
) -> bytes:
    """Scales are those of the input, of the state, and of the output."""
    random = np.random.default_rng(seed)
    filters = units * rank
    features = random.integers(-127, 128, (filters, inputs)).astype(np.int8)
    weights = random.integers(-32767, 32768, (filters, times)).astype(np.int16)
    tensors = [
        activation("in", (1, inputs), scales[0], zero_points[0]),
        Tensor("features", features.shape, "int8", Quant((f32(0.005),)), features),
        Tensor("times", weights.shape, "int16", Quant((f32(2.0**-15),)), weights),
        Tensor("bias", (units,), "int32", Quant((1e-4,)), random.integers(-90000, 90000, units).astype(np.int32)),
        replace(_int16("state", (1, filters * times), scales[1]), is_variable=True),
    ]
    names = ["in", "features", "times", "bias" if bias else "", "state"]
    tensors = tensors if bias else [t for t in tensors if t.name != "bias"]
    options: dict[str, OptionValue] = {"rank": rank, "fused_activation_function": "RELU"}
    output = activation("out", (1, units), scales[2], zero_points[1])
    return stateful(Op("SVDF", tuple(names), ("out",), options, 3), tensors, [], output)


RECURRENT: dict[str, Callable[[], bytes]] = {
    "lstm": lstm,
    "lstm without input gate": lambda: lstm(input_gate=False),
    "lstm of one step": lambda: lstm(1, 17, 5, time_major=True),
    "lstm with clipped cells": lambda: lstm(clip=1.5, scales=(0.1, 0.0078, 0.02)),
    "lstm of wide cells": lambda: lstm(8, 20, 9, cell_exponent=-9, scales=(0.1, 0.0078, 0.02)),
    "svdf": svdf,
    "svdf of rank 1": lambda: svdf(rank=1, bias=False),
    "svdf of many times": lambda: svdf(16, 8, 3, 32),
}
