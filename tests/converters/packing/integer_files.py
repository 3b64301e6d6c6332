"""Quantised .tflite files of 8 x 8 grey pixels and three classes, as other tools write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import qtyping, quantizer, recipe_manager
from litert_quantizer.algorithm_manager import AlgorithmName

from multigraft.converters.conversion.interpreters import main_signature
from multigraft.tflite.graph import Graph, Model, Op, Quant, Tensor
from multigraft.tflite.tflite_file import read, write
from tests.converters.graph_builder import GraphBuilder
from tests.tflite_builder import Graph as Sketch
from tests.tflite_builder import serialise


def int8_file() -> bytes:
    """int8 in and out, one subgraph, one signature."""
    g = Sketch(seed=5)
    x = g.input("image", (1, 8, 8, 1))
    x = g.mean("mean", g.conv("conv", x, 6, stride=2))
    g.softmax("answer", g.dense("dense", x, 3))
    whole = read(serialise(g, {"main": [*g.operators]}, ["answer"]))
    return write(dataclasses.replace(whole, signatures=()))


def converted_file(dtype: str) -> bytes:
    """The same with QUANTIZE in front and behind, for float32 or uint8 in and out; it has no signature."""
    graph = read(int8_file()).main
    source, answer = graph.inputs[0], graph.outputs[0]
    quants: dict[str, Any] = {n: graph.tensors[n].quant for n in (source, answer)}
    outside = []
    for name, quant in quants.items():
        shifted = Quant(quant.scales, (quant.zero_points[0] + 128,)) if dtype == "uint8" else None
        outside.append(Tensor(f"{name}_outside", graph.tensors[name].shape, dtype, shifted))
    leaving = "QUANTIZE" if dtype == "uint8" else "DEQUANTIZE"
    ops = [Op("QUANTIZE", (outside[0].name,), (source,)), *graph.ops, Op(leaving, (answer,), (outside[1].name,))]
    tensors = [*outside, *graph.tensors.values()]
    return write(Model((Graph.of("main", [outside[0].name], [outside[1].name], ops, tensors),)))


def old_file() -> bytes:
    """The same in uint8 throughout, as TensorFlow 1 quantised: weights, too, with one scale and one zero point."""
    graph = read(int8_file()).main
    tensors = dict(graph.tensors)
    for name, tensor in graph.tensors.items():
        if tensor.dtype == "int8" and tensor.quant is not None and tensor.data is None:
            points = tuple(z + 128 for z in tensor.quant.zero_points)
            tensors[name] = dataclasses.replace(tensor, dtype="uint8", quant=Quant(tensor.quant.scales, points))
    for op in graph.ops:
        if op.name in ("CONV_2D", "FULLY_CONNECTED"):
            source, weights, bias = (graph.tensors[n] for n in op.inputs)
            tensors[weights.name] = in_uint8(weights)
            quant = tensors[weights.name].quant
            assert source.quant is not None and quant is not None
            tensors[bias.name] = _with_scale(bias, source.quant.scales[0] * quant.scales[0])
    return write(Model((Graph.of("main", graph.inputs, graph.outputs, graph.ops, tensors.values()),)))


def in_uint8(weights: Tensor) -> Tensor:
    """Weights of int8 with one scale and one zero point."""
    values = real(weights)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    scale = float(np.float32((high - low) / 255))
    zero = round(-low / scale)
    data = np.clip(np.round(values / scale) + zero, 0, 255).astype(np.uint8)
    return dataclasses.replace(weights, dtype="uint8", data=data, quant=Quant((scale,), (zero,)))


def real(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Real values of constants, scales along the first axis."""
    assert tensor.quant is not None and tensor.data is not None
    scales = np.reshape(tensor.quant.scales, (-1, *(1,) * (tensor.data.ndim - 1)))
    return np.asarray(tensor.data * scales, np.float64)


def _with_scale(bias: Tensor, scale: float) -> Tensor:
    data = np.round(real(bias) / scale).astype(np.int32)
    return dataclasses.replace(bias, data=data, quant=Quant((float(np.float32(scale)),), (0,)))


def int16_file(*, is_float_outside: bool) -> bytes:
    """Values in 16 bits and weights in 8, with float32 or int16 in and out."""
    b = GraphBuilder()
    x = b.mean("mean", b.conv("conv", b.input("image", 1, 8, 8, 1), 6))
    graph = b.graph(b.dense("dense", x, 3))
    recipe = recipe_manager.RecipeManager()
    operations = qtyping.TFLOperationName
    recipe.add_static_config(".*", operations.ALL_SUPPORTED, activation_num_bits=16, weight_num_bits=8)
    for end in (operations.INPUT, operations.OUTPUT) if is_float_outside else ():
        recipe.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    source = write(Model((graph,), (main_signature(graph),)))
    ranges = {n: tuple(np.full((1,) * len(t.shape), v, np.float32) for v in (-4, 4)) for n, t in graph.tensors.items()}
    statistics = {name: {"min": low, "max": high} for name, (low, high) in ranges.items()}
    return bytes(quantizer.Quantizer(source, recipe.get_quantization_recipe()).quantize(statistics).quantized_model)


FILES: dict[str, Callable[[], bytes]] = {
    "int8": int8_file,
    "uint8": lambda: converted_file("uint8"),
    "float32": lambda: converted_file("float32"),
    "old": old_file,
    "int16": lambda: int16_file(is_float_outside=True),
}


def saved(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.tflite"
    path.write_bytes(FILES[kind]())
    return path


def frames(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (8, 8), np.uint8) for _ in range(count)]
