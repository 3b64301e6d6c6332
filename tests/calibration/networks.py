"""A taps bundle made in code: two float32 networks of a few operators, their layers as outputs."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import Input, Manifest, Segment, Task
from multigraft.bundle.tap_outputs import TAP_PAIRS
from multigraft.converters.field.range_stretches import RESIDENT_BYTES, with_inner_stretches
from multigraft.runtime.self_test import golden_origin
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec
from tests.bundle_builder import npz
from tests.tflite_builder import Graph, serialise

SIZE = 12


def taps_bundle(
    names: tuple[str, ...] = ("garment", "digit"), width: int = 4, resident_bytes: int = RESIDENT_BYTES
) -> Bundle:
    """One network per name: two convolutions (the taps), a third, a mean and a dense layer with 5 outputs."""
    graph = Graph(seed=3, float32=True)
    members: dict[str, list[str]] = {}
    for name in names:
        source = graph.input(f"{name}/image", (1, SIZE, SIZE, 1))
        first = graph.conv(f"{name}/relu1", source, width)
        second = graph.conv(f"{name}/relu2", first, 2 * width, stride=2)
        third = graph.conv(f"{name}/relu3", second, 3 * width)
        graph.dense(f"{name}/logits", graph.mean(f"{name}/mean", third), 5)
        members[f"head_{name}"] = [f"{name}/{t}" for t in ("relu1", "relu2", "relu3", "mean", "logits")]
    written = {name: (f"{name}/relu1", f"{name}/relu2", f"{name}/logits") for name in names}
    model = serialise(graph, members, [t for tensors in written.values() for t in tensors])
    shapes = {t: graph.tensors[t].shape for name in names for t in (f"{name}/image", *written[name])}
    manifest = Manifest(
        name="taps",
        tasks=tuple(Task(name, "classification", (f"{name}/logits",), (f"head_{name}",)) for name in names),
        segments=tuple(
            Segment(
                f"head_{name}",
                f"head_{name}",
                {f"{name}/image": f"{name}/image"},
                {t: t for t in written[name]},
                "float32",
                1000,
                1000,
            )
            for name in names
        ),
        inputs=tuple(Input(f"{name}/image", Preprocessing(SIZE, SIZE, "grey", (0.0,), (1 / 255,))) for name in names),
        tensors=tuple(TensorSpec(t, shape, "float32") for t, shape in shapes.items()),
        files={},
    )
    interpreter = TfliteModel(model)
    inputs: dict[str, Array] = {}
    outputs: dict[str, Array] = {}
    for name in names:
        subgraph = interpreter.subgraph(f"head_{name}")
        value = np.random.default_rng(1).random((1, SIZE, SIZE, 1)).astype(np.float32)
        subgraph.inputs[f"{name}/image"][...] = value
        subgraph.invoke()
        inputs[f"{name}/image"] = value[None]
        outputs |= {t: subgraph.outputs[t].copy()[None] for t in written[name]}
    provenance = {
        "golden": golden_origin(interpreter.backend),
        TAP_PAIRS: [[f"{a}/{tap}", f"{b}/{tap}"] for a, b in itertools.pairwise(names) for tap in ("relu1", "relu2")],
    }
    manifest = dataclasses.replace(manifest, provenance=provenance)
    contents = {
        MODEL: model, MODEL_CARD: b"# taps\n", GOLDEN_INPUTS: npz(inputs), GOLDEN_OUTPUTS: npz(outputs),
    }  # fmt: skip
    return with_inner_stretches(Bundle.create(manifest, contents), names, resident_bytes=resident_bytes)


def frames(count: int, seed: int = 0, light: float = 1.0, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Random smooth grey frames: uint8, count x size x size."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4)).astype(np.float64)
    wide = np.kron(coarse, np.ones((size // 4, size // 4)))
    noise = random.normal(0, 12, (count, size, size))
    return np.clip(light * (wide + noise), 0, 255).astype(np.uint8)
