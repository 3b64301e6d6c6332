"""A binary convolution against XNNPACK's in float32 and int8: the same layer, one thread, one process, paired."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from multigraft.runtime.backends import load_backend
from multigraft.runtime.delegate.library import KERNELS, available_kernels
from multigraft.runtime.machine import Machine
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Tensor
from multigraft.tflite.tflite_file import read, write
from tests.runtime.delegate.binary_cases import Conv, model_of, with_values

SHAPES = ((56, 64), (28, 128), (14, 256), (7, 512))
"""Height and width, channels in and out; 3x3, stride 1, SAME. All take 115.6 million multiplications."""
ROUNDS = 200


def ordinary(size: int, channels: int, dtype: str) -> bytes:
    """A convolution with a bias and RELU."""
    rng = np.random.default_rng(0)
    shape, kernel = (1, size, size, channels), (channels, 3, 3, channels)
    quant = None if dtype == "float32" else Quant((0.02,), (-3,))
    if dtype == "float32":
        weights: Array = rng.normal(0, 0.05, kernel).astype(np.float32)
        bias: Array = rng.normal(0, 1, channels).astype(np.float32)
        held: tuple[Quant | None, Quant | None] = (None, None)
    else:
        weights = rng.integers(-127, 128, kernel, np.int8)
        bias = rng.integers(-1000, 1000, channels, np.int32)
        scales = (0.001,) * channels
        held = (Quant(scales, (0,) * channels), Quant(tuple(0.02 * s for s in scales), (0,) * channels))
    tensors = [
        Tensor("x", shape, dtype, quant),
        Tensor("w", kernel, dtype, held[0], weights),
        Tensor("b", (channels,), "float32" if dtype == "float32" else "int32", held[1], bias),
        Tensor("y", shape, dtype, quant and Quant((0.05,), (-128,))),
    ]
    options: dict[str, OptionValue] = {"padding": "SAME", "fused_activation_function": "RELU"}
    options |= dict.fromkeys(("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor"), 1)
    op = Op("CONV_2D", ("x", "w", "b"), ("y",), options)
    return write(Model((Graph.of("main", ["x"], ["y"], [op], tensors),)))


def binary(size: int, channels: int, output: str) -> bytes:
    """LceBconv2d alone, packed to packed, or with LceQuantize before it, int8 to int8."""
    case = Conv(height=size, width=size, channels=channels, outputs=channels, source="int8", output=output)
    case = with_values(case, np.random.default_rng(0))
    graph = read(model_of(replace(case))).main
    if output == "packed":
        graph = Graph.of("main", ["packed"], ["conv0"], graph.ops[1:2], graph.tensors.values())
    return write(Model((graph,)))


def _filled(model: bytes) -> Callable[[], object]:
    subgraph = TfliteModel(model).subgraph()
    rng = np.random.default_rng(1)
    for array in subgraph.inputs.values():
        if array.dtype == np.float32:
            array[...] = rng.normal(0, 1, array.shape)
        else:
            array[...] = np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)
    return subgraph.invoke


def _us(run: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begin) / 1000


def show(folder: Path) -> None:
    """Print microseconds of the binary layer and how often it goes into the ordinary ones' time."""
    print(f"\nBinary convolutions, 3x3, stride 1, one thread, {Machine.here(load_backend())}")
    print(f"median of {ROUNDS} rounds, each of which runs all; ratios are medians of the rounds' ratios")
    for kernels in available_kernels():
        os.environ[KERNELS] = kernels
        for size, channels in SHAPES:
            runs = [
                _filled(binary(size, channels, "packed")),
                _filled(binary(size, channels, "int8")),
                _filled(ordinary(size, channels, "float32")),
                _filled(ordinary(size, channels, "int8")),
            ]
            for run in runs:
                run()
            times = np.array([[_us(run) for run in runs] for _ in range(ROUNDS)])
            for name, place in (("packed", 0), ("int8", 1)):
                ratios = np.median(times[:, 2:] / times[:, place : place + 1], axis=0)
                macs_per_ns = size * size * channels * channels * 9 / np.median(times[:, place]) / 1000
                print(
                    f"{kernels:9}{size}x{size}x{channels:<5}{name} to {name:7}{np.median(times[:, place]):8.1f} us"
                    f"  float32 {ratios[0]:5.1f} times, int8 {ratios[1]:4.1f} times; {macs_per_ns:6.0f} MAC/ns"
                )
    del os.environ[KERNELS]
