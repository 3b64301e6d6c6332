"""Builds whole bundles in code: a trunk and heads of :mod:`tests.tflite_builder`, with manifest and golden files."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import Input, Manifest, Segment, Task
from multigraft.npz import read_npz
from multigraft.runtime.backends import BackendName
from multigraft.runtime.self_test import golden_origin
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec
from tests.tflite_builder import Graph, boundary, serialise


@dataclass(frozen=True)
class Built:
    """A bundle with the uncut model it was cut from, and per task the model of that task alone."""

    bundle: Bundle
    uncut: bytes
    separate: dict[str, bytes]
    inputs: Array


def build(
    heads: tuple[tuple[str, Kind], ...] = (("garment", "classification"), ("digit", "classification")),
    float32: bool = False,
    size: tuple[int, int, int] = (28, 28, 1),
    width: int = 8,
    **how: Any,
) -> Built:
    """A trunk of two convolutions and per head a convolution and what its kind needs; golden outputs by ``backend``."""
    graph = Graph(seed=7, float32=float32)
    source = graph.input("image", (1, *size))
    trunk = graph.conv("trunk/conv2", graph.conv("trunk/conv1", source, width), 2 * width, stride=2)
    segments, outputs = {"trunk": ["trunk/conv1", "trunk/conv2"]}, {}
    for name, kind in heads:
        branch = graph.conv(f"{name}/conv", trunk, 2 * width, stride=2)
        if kind == "segmentation":
            members, out = [f"{name}/conv", f"{name}/map"], graph.conv(f"{name}/map", branch, 3, kernel=1)
        elif kind == "other":
            members, out = [f"{name}/conv"], branch
        else:
            pooled = graph.mean(f"{name}/mean", branch)
            members, out = [f"{name}/conv", f"{name}/mean", f"{name}/out"], graph.dense(f"{name}/out", pooled, 10)
        segments[f"head_{name}"], outputs[name] = members, out
    return assemble(graph, segments, {name: (kind, outputs[name], _labels(name, kind)) for name, kind in heads}, **how)


def assemble(
    graph: Graph,
    segments: dict[str, list[str]],
    tasks: dict[str, tuple[Kind, str, tuple[str, ...]]],
    backend: BackendName = "auto",
    cases: int = 4,
    provenance: dict[str, Any] | None = None,
) -> Built:
    """A bundle of a graph cut into segments; a task (kind, output, labels) needs all segments before its output."""
    outputs = [output for _, output, _ in tasks.values()]
    cut = serialise(graph, segments, outputs)
    edges = boundary(graph, segments, outputs)
    crossing = dict.fromkeys(name for pair in edges.values() for side in pair for name in side)
    written = {name for _, writes in edges.values() for name in writes}
    inputs = [name for name in crossing if name not in written]
    needed = {name: _needed(edges, output) for name, (_, output, _) in tasks.items()}
    float32 = graph.float32
    manifest = Manifest(
        name="test",
        tasks=tuple(
            Task(name, kind, (output,), needed[name], labels) for name, (kind, output, labels) in tasks.items()
        ),
        segments=tuple(
            Segment(
                name=name,
                signature=name,
                inputs={t: t for t in reads},
                outputs={t: t for t in writes},
                precision="float32" if float32 else "int8",
                macs=1000,
                weights_bytes=_weights_bytes(graph, segments[name]),
                operators={"CONV_2D": 1},
            )
            for name, (reads, writes) in edges.items()
        ),
        inputs=tuple(Input(name, _preprocessing(graph.tensors[name].shape)) for name in inputs),
        tensors=tuple(
            TensorSpec(t.name, t.shape, t.dtype, t.scale[0] if t.scale else None, t.zero_point)
            for t in (graph.tensors[name] for name in crossing)
        ),
        files={},
    )
    random = np.random.default_rng(3)
    golden_inputs = {}
    for name in inputs:
        shape = (cases, *graph.tensors[name].shape)
        values = random.random(shape, np.float32) if float32 else random.integers(-128, 128, shape, np.int8)
        golden_inputs[name] = values
    golden, origin = _golden(cut, manifest, golden_inputs, backend)
    manifest = dataclasses.replace(manifest, provenance={"golden": origin} if provenance is None else provenance)
    contents = {
        MODEL: cut, MODEL_CARD: b"# test\n", GOLDEN_INPUTS: npz(golden_inputs), GOLDEN_OUTPUTS: npz(golden),
    }  # fmt: skip
    separate = {
        name: serialise(graph, {"main": [op for s in needed[name] for op in segments[s]]}, [output])
        for name, (_, output, _) in tasks.items()
    }
    uncut = serialise(graph, {"main": list(graph.operators)}, outputs)
    return Built(Bundle.create(manifest, contents), uncut, separate, golden_inputs[inputs[0]])


def failing(bundle: Bundle) -> Bundle:
    """The bundle with golden outputs that no machine computes."""
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    outputs = {name: array ^ np.int8(64) for name, array in read_npz(contents[GOLDEN_OUTPUTS]).items()}
    return Bundle.create(bundle.manifest, {**contents, GOLDEN_OUTPUTS: npz(outputs)})


def _needed(edges: dict[str, tuple[Any, Any]], output: str) -> tuple[str, ...]:
    wanted = {output}
    needed: list[str] = []
    for name, (reads, writes) in reversed(edges.items()):
        if wanted & set(writes):
            needed.insert(0, name)
            wanted |= set(reads)
    return tuple(needed)


def _weights_bytes(graph: Graph, members: list[str]) -> int:
    constants = (graph.tensors[key].data for member in members for key in graph.operators[member].inputs)
    return sum(data.nbytes for data in constants if data is not None)


def _preprocessing(shape: tuple[int, ...]) -> Preprocessing:
    _, height, width, channels = shape
    return Preprocessing(height, width, "rgb" if channels == 3 else "grey", (0.0,) * channels, (1 / 255,) * channels)


def npz(arrays: dict[str, Array]) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def _labels(name: str, kind: Kind) -> tuple[str, ...]:
    if kind == "classification":
        return tuple(f"{name} {i}" for i in range(10))
    return ("sky", "road", "car") if kind == "segmentation" else ()


def _golden(
    model: bytes, manifest: Manifest, inputs: dict[str, Array], backend: BackendName
) -> tuple[dict[str, Any], dict[str, str]]:
    interpreter = TfliteModel(model, backend, direct=False)
    rows: dict[str, list[Array]] = {}
    subgraphs = {segment.name: interpreter.subgraph(segment.signature) for segment in manifest.segments}
    for case in range(len(next(iter(inputs.values())))):
        values = {name: array[case] for name, array in inputs.items()}
        for segment in manifest.segments:
            subgraph = subgraphs[segment.name]
            for name in segment.inputs:
                subgraph.inputs[name][...] = values[name]
            subgraph.invoke()
            for name in segment.outputs:
                values[name] = subgraph.outputs[name].copy()
                rows.setdefault(name, []).append(values[name])
    return {name: np.stack(arrays) for name, arrays in rows.items()}, golden_origin(interpreter.backend)
