"""A taps bundle made in code whose "line" finds bright rectangles, at which two other networks look."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.crops import On
from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import Input, Manifest, Segment, Task
from multigraft.bundle.tap_outputs import TAP_PAIRS
from multigraft.converters.field.range_stretches import with_inner_stretches
from multigraft.runtime.self_test import golden_origin
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec
from tests.bundle_builder import npz
from tests.tflite_builder import Graph, serialise

SIDE, CROP, FRAME = 64, 12, 128
ON = On("line", margin=0.1, top=3)
JUDGES = ("garment", "digit")

Frames = npt.NDArray[np.uint8]


def crops_bundle(on: On = ON, whole: tuple[str, ...] = ()) -> Bundle:
    """Tasks "line" of whole frames, "garment" and "digit" of its boxes.

    Args:
        on: What the two look at.
        whole: Those of the two that look at whole frames all the same.
    """
    graph = Graph(seed=3, float32=True)
    # Of the first weight this seed makes a positive one, so that bright stays bright.
    bright = graph.conv("line/bright", graph.input("line/image", (1, SIDE, SIDE, 1)), 1, kernel=1)
    graph.mean("line/mean", bright)
    members = {"head_line": ["line/bright", "line/mean"]}
    written: dict[str, tuple[str, ...]] = {"line": ("line/mean", "line/bright")}
    for name in JUDGES:
        first = graph.conv(f"{name}/relu1", graph.input(f"{name}/image", (1, CROP, CROP, 1)), 4)
        second = graph.conv(f"{name}/relu2", first, 8, stride=2)
        graph.dense(f"{name}/logits", graph.mean(f"{name}/mean", graph.conv(f"{name}/relu3", second, 12)), 5)
        members[f"head_{name}"] = [f"{name}/{t}" for t in ("relu1", "relu2", "relu3", "mean", "logits")]
        written[name] = (f"{name}/relu1", f"{name}/relu2", f"{name}/logits")
    model = serialise(graph, members, [t for tensors in written.values() for t in tensors])
    shapes = {t: graph.tensors[t].shape for name in written for t in (f"{name}/image", *written[name])}
    answer = AnswerFormat("db-text", ((1, SIDE, SIDE),), (SIDE, SIDE), {"map": 0}, scores="probabilities")
    line = Task("line", "detection", ("line/bright",), ("head_line",), ("line",), answer=answer)
    judges = [
        Task(name, "classification", (f"{name}/logits",), (f"head_{name}",), on=None if name in whole else on)
        for name in JUDGES
    ]
    sizes = {"line": SIDE, **dict.fromkeys(JUDGES, CROP)}
    interpreter = TfliteModel(model)
    inputs: dict[str, Array] = {}
    outputs: dict[str, Array] = {}
    for name, size in sizes.items():
        subgraph = interpreter.subgraph(f"head_{name}")
        value = np.random.default_rng(1).random((1, size, size, 1)).astype(np.float32)
        subgraph.inputs[f"{name}/image"][...] = value
        subgraph.invoke()
        inputs[f"{name}/image"] = value[None]
        outputs |= {t: subgraph.outputs[t].copy()[None] for t in written[name]}
    manifest = Manifest(
        name="taps",
        tasks=(line, *judges),
        segments=tuple(
            Segment(
                f"head_{name}", f"head_{name}", {f"{name}/image": f"{name}/image"}, {t: t for t in tensors},
                "float32", 1000, 1000,
            )
            for name, tensors in written.items()
        ),
        inputs=tuple(
            Input(f"{name}/image", Preprocessing(size, size, "grey", (0.0,), (1 / 255,)))
            for name, size in sizes.items()
        ),
        tensors=tuple(TensorSpec(t, shape, "float32") for t, shape in shapes.items()),
        files={},
        provenance={
            "golden": golden_origin(interpreter.backend),
            TAP_PAIRS: [[f"garment/{tap}", f"digit/{tap}"] for tap in ("relu1", "relu2")],
        },
    )  # fmt: skip
    contents = {
        MODEL: model, MODEL_CARD: b"# taps\n", GOLDEN_INPUTS: npz(inputs), GOLDEN_OUTPUTS: npz(outputs),
    }  # fmt: skip
    return with_inner_stretches(Bundle.create(manifest, contents), list(written))


def with_on(bundle: Bundle, on: On) -> Bundle:
    """The same with another rule of cutting out."""
    return bundle.with_tasks(dataclasses.replace(t, on=on if t.on else None) for t in bundle.manifest.tasks)


def crop_frames(count: int, seed: int = 0) -> Frames:
    """Grey frames of 128 x 128 with none to three bright rectangles, each of a pattern of its own."""
    random = np.random.default_rng(seed)
    made = random.integers(0, 20, (count, FRAME, FRAME)).astype(np.uint8)
    for frame in made:
        for row in random.permutation(3)[: random.integers(0, 4)]:
            height, width = random.integers(20, 30), random.integers(30, 60)
            top, left = 4 + 42 * row + random.integers(0, 8), random.integers(4, 60)
            coarse = random.integers(150, 256, (5, 6)).astype(np.float64)
            pattern = np.kron(coarse, np.ones((6, 10)))[:height, :width]
            frame[top : top + height, left : left + width] = pattern
    return made
