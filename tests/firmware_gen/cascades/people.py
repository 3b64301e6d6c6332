"""The cascade person, face, mood and age as a bundle, and whether firmware says of a frame what Engine says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from multigraft.answers.crops import crop
from multigraft.answers.detections import Detections
from multigraft.answers.per_box import PerBox
from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine, engine
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import preparer_for
from tests.converters import cascade_scene
from tests.converters.cascade_scene import Person, Picture, picture

PEOPLE: tuple[tuple[Person, ...], ...] = (
    (),
    ((5, 9, 1, 0),),
    ((4, 8, 1, 0), (36, 30, 0, 1)),
    ((2, 2, 0, 0), (38, 2, 1, 0), (2, 38, 0, 1), (38, 38, 1, 1)),
)


def built(folder: Path) -> Path:
    """The bundle's path; int8 throughout."""
    settings = cascade_scene.project(folder, "int8")
    assert main(["build", str(settings), "-o", str(folder / "people.graft")]) == 0
    return folder / "people.graft"


def frames(noise: int = 25) -> list[Picture]:
    """Nobody, one, two and four people, clean and with noise."""
    random = np.random.default_rng(0)
    clean = [picture(*people) for people in PEOPLE]
    noisy = [f + random.integers(-noise, noise, f.shape) for f in clean]
    return [*clean, *(np.clip(f, 0, 255).astype(np.uint8) for f in noisy)]


def reference_engine(bundle: Bundle) -> Engine:
    """With the kernels whose bits firmware has."""
    reason = "hardware: no tflite-runtime for this Python"
    pytest.importorskip("tflite_runtime.interpreter", reason=reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "TfliteModel", functools.partial(TfliteModel, reference=True))
        return Engine(bundle, backend="tflite-runtime")


def assert_same(said: Mapping[str, Array], answers: Mapping[str, Answer]) -> int:
    """That what a device said of one frame is what Engine answered; the number of persons."""
    for task in ("person", "face"):
        found, count = answers[task], int(said[f"{task}/count"].reshape(-1)[0])
        rows = said[f"{task}/boxes"].reshape(-1, 7)
        if not isinstance(found, Detections):
            assert isinstance(found, PerBox) and not found.numbers and count == 0
            continue
        assert count == len(found)
        np.testing.assert_array_equal(rows[:count, :4], found.boxes)
        np.testing.assert_array_equal(rows[:count, 4], found.scores)
        np.testing.assert_array_equal(rows[:count, 5], found.classes)
        parents = np.full(count, -1) if found.parents is None else found.parents
        np.testing.assert_array_equal(rows[:count, 6], parents)
        assert not rows[count:].any()
    for task in ("mood", "age"):
        told, crops = answers[task], said["face/crops"].reshape(-1)
        assert isinstance(told, PerBox)
        assert tuple(crops[1 : 1 + crops[0]]) == told.numbers and crops[0] == len(told.numbers)
        rows = said[f"{task}/answers"].reshape(len(crops) - 1, -1)
        for row, answer in zip(rows, told.answers, strict=False):
            assert isinstance(answer, Classification)
            assert int(row.argmax()) == answer.index
        assert not rows[crops[0] :].any()
    return int(said["person/count"].reshape(-1)[0])


def raw_crop_answers(whole: Engine, frame: Picture) -> dict[str, list[Array]]:
    """Stored outputs of mood and age for each face, in turn: what their interpreters hold."""
    manifest = whole.manifest
    faces = whole.run(frame, ["face"]).answers["face"]
    rows: dict[str, list[Array]] = {"mood": [], "age": []}
    on = manifest.task("mood").on
    assert on is not None
    for number in on.numbers(faces) if isinstance(faces, Detections) else []:
        assert isinstance(faces, Detections)
        part, _ = crop(frame, faces, number, on)
        (source,) = manifest.inputs_of("mood")
        spec = manifest.tensor(source.tensor)
        stored = np.empty(spec.shape, np.int8)
        preparer_for(source.preprocessing, spec).fill(part, stored)
        computed = whole.compute({source.tensor: stored}, ["mood", "age"])
        for task, kept in rows.items():
            kept.append(computed[manifest.task(task).outputs[0]][0])
    return rows
