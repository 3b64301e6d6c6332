"""Quantised .tflite files of 8 x 8 grey pixels and three classes, as other tools write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.tflite.graph import Graph, Model, Op, Quant, Tensor
from multigraft.tflite.tflite_file import read, write
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


FILES: dict[str, Callable[[], bytes]] = {
    "int8": int8_file,
    "uint8": lambda: converted_file("uint8"),
    "float32": lambda: converted_file("float32"),
}


def saved(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.tflite"
    path.write_bytes(FILES[kind]())
    return path


def frames(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (8, 8), np.uint8) for _ in range(count)]
