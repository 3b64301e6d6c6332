"""Person, then face, then mood and age: one bundle, each asked of what the one before found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.detections import Detections
from multigraft.answers.per_box import PerBox
from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.cut_frames import CutFrames
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.statistics import statistics_file
from tests.converters import cascade_scene
from tests.converters.cascade_scene import FACE, PERSON, Person, picture


@pytest.fixture(scope="module", params=["float32", "int8"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("cascade")
    settings = cascade_scene.project(folder, request.param)
    assert main(["build", str(settings), "-o", str(folder / "people.graft")]) == 0
    return Bundle.open(folder / "people.graft")


PEOPLE: dict[str, tuple[Person, ...]] = {
    "nobody": (),
    "one": ((5, 9, 1, 0),),
    "two": ((4, 8, 1, 0), (36, 30, 0, 1)),
    "four": ((2, 2, 0, 0), (38, 2, 1, 0), (2, 38, 0, 1), (38, 38, 1, 1)),
}


@pytest.mark.parametrize("people", PEOPLE.values(), ids=PEOPLE)
def test_each_is_asked_of_what_the_one_before_found(people: tuple[Person, ...], bundle: Bundle) -> None:
    answers = Engine(bundle).run(picture(*people)).answers
    persons, faces, moods, ages = (answers[name] for name in ("person", "face", "mood", "age"))
    assert isinstance(persons, Detections) and len(persons) == len(people)
    if not people:
        assert [answers[n].to_json()["boxes"] for n in ("face", "mood", "age")] == [[], [], []]
        return
    assert isinstance(faces, Detections) and isinstance(moods, PerBox) and isinstance(ages, PerBox)
    inner = (PERSON - FACE) / 2
    for left, top, mood, age in people:
        person = int(np.abs(persons.boxes[:, :2] - (left, top)).sum(axis=1).argmin())
        np.testing.assert_allclose(persons.boxes[person], (left, top, left + PERSON, top + PERSON), atol=2.5)
        face = int(np.abs(faces.boxes[:, :2] - (left + inner, top + inner)).sum(axis=1).argmin())
        wanted = left + inner, top + inner, left + inner + FACE, top + inner + FACE
        np.testing.assert_allclose(faces.boxes[face], wanted, atol=2.5)
        assert faces.parents is not None and faces.parents[face] == person
        for told, index in ((moods, mood), (ages, age)):
            answer = told.answers[told.numbers.index(face)]
            assert isinstance(answer, Classification) and answer.index == index


def test_tasks_on_the_same_crops_share_a_trunk_and_others_do_not(bundle: Bundle) -> None:
    used = {task.name: set(task.segments) for task in bundle.manifest.tasks}
    assert used["mood"] & used["age"] == {"trunk"}
    assert not used["person"] & used["face"] and not used["face"] & used["age"]


def test_a_task_alone_brings_the_tasks_whose_boxes_it_needs(bundle: Bundle) -> None:
    engine, frame = Engine(bundle), picture((5, 9, 1, 0))
    assert set(engine.run(frame, ["age"]).answers) == {"person", "face", "age"}
    assert set(engine.run(frame, ["person"]).answers) == {"person"}
    assert engine.run(frame, ["person"]).stages == ()


def with_on(bundle: Bundle, **changes: Any) -> Bundle:
    """The bundle with other keys of ``on`` for the face task."""
    return bundle.with_tasks(
        dataclasses.replace(t, on=dataclasses.replace(t.on, **changes)) if t.name == "face" and t.on else t
        for t in bundle.manifest.tasks
    )


def test_so_many_boxes_are_looked_at_and_no_more(bundle: Bundle) -> None:
    result = Engine(with_on(bundle, top=1)).run(picture(*PEOPLE["four"]))
    assert [stage.crops for stage in result.stages] == [1, 1]
    assert len(result.answers["person"]) == 4  # type: ignore[arg-type]


def test_after_the_deadline_no_box_is_begun_and_the_line_says_so(bundle: Bundle) -> None:
    result = Engine(with_on(bundle, deadline_us=1e-3)).run(picture(*PEOPLE["four"]))
    assert [(stage.crops, stage.late) for stage in result.stages] == [(0, 4), (0, 0)]
    assert result.to_json()["latency_us"]["stages"][0]["late"] == 4


def test_boxes_of_other_classes_are_left_alone(bundle: Bundle) -> None:
    result = Engine(with_on(bundle, labels=("dog",))).run(picture(*PEOPLE["four"]))
    assert [stage.crops for stage in result.stages] == [0, 0]


def test_bench_tells_what_looking_at_boxes_costs_by_their_number(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.write(tmp_path / "people.graft")
    measure = ["bench", str(tmp_path / "people.graft"), "--runs", "5", "--warmup", "1", "--no-memory", "--no-energy"]
    assert main([*measure, "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(s["on"], s["tasks"], list(s["crops"])) for s in stages] == [
        ("person", ["face"], ["0", "1", "4"]),
        ("face", ["mood", "age"], ["0", "1", "4"]),
    ]
    assert {taken["samples"] for s in stages for taken in s["crops"].values()} == {5}
    assert main(measure) == 0
    assert "mood, age" in capsys.readouterr().out


def test_statistics_of_faces_in_persons_are_a_file_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cascade_scene.project(tmp_path)
    assert main(["calibrate", "prepare", str(path), "-o", str(tmp_path / "home.mgtaps")]) == 0
    np.save(tmp_path / "seen.npy", np.stack(cascade_scene.pictures(300, seed=5)))
    collect = ["calibrate", "collect", str(tmp_path / "home.mgtaps"), "--source", str(tmp_path / "seen.npy")]
    sizes = ["--minibatch", "8", "--minimum-frames", "8", "--min-difference", "0"]
    capsys.readouterr()
    assert main([*collect, *sizes, "-o", str(tmp_path / "a.mgstats")]) == 0
    assert "mood, age: " in (told := capsys.readouterr().out) and "crops of what face found, in" in told
    seen = {name: statistics_file.read(tmp_path / f"a.{name}mgstats").subject for name in ("", "person.", "face.")}
    assert {name: [n.name for n in s.networks] for name, s in seen.items()} == {
        "": ["person"], "person.": ["face"], "face.": ["mood", "age"],
    }  # fmt: skip
    assert [[on.task for on in s.crops] for s in seen.values()] == [[], ["person"], ["person", "face"]]
    kept = [*collect, *sizes, "--keep-frames", "2", "-o", str(tmp_path / "b.mgstats")]
    assert main(kept) == 0
    capsys.readouterr()
    assert main(["calibrate", "purge", *(str(tmp_path / f"b.{name}mgstats") for name in seen)]) == 0
    assert capsys.readouterr().out.count("2 frames removed from") == 3


def test_builds_look_at_the_boxes_that_engine_looks_at(tmp_path: Path) -> None:
    path = cascade_scene.project(tmp_path)
    path.write_text(
        path.read_text("utf-8").replace('on = { task = "face" }', 'on = { task = "face", top = 1 }'), "utf-8"
    )
    settings = Settings.load(path)
    networks = [load_task(task, tmp_path) for task in settings.tasks]
    frames = [picture(*PEOPLE["two"]), picture(*PEOPLE["nobody"]), picture(*PEOPLE["four"])]
    cut = CutFrames(settings, networks, lambda task: frames)
    persons, faces = cut(settings.tasks[1]), cut(settings.tasks[2])
    assert len(persons) == 6
    # One of each frame, whichever person it belongs to.
    assert len(faces) == 2


def test_taps_of_a_task_without_boxes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade_scene.project(tmp_path)
    path.write_text(path.read_text("utf-8").replace('on = { task = "face" }', "", 1)
                    .replace('on = { task = "face" }', 'on = { task = "mood" }'), "utf-8")  # fmt: skip
    assert main(["calibrate", "prepare", str(path), "-o", str(tmp_path / "home.mgtaps")]) == 78
    assert "'mood' finds no boxes" in capsys.readouterr().err


WRONG: dict[str, tuple[str, str]] = {
    "no such task": ('on = { task = "persn" }', r"on.task is 'persn', which no task is called; did you mean person"),
    "a circle": ('on = { task = "age" }', r"leads back to where it began \(face on age on face\)"),
    "one keypoint": ('on = { task = "person", level = [0] }', r"on.level has 1 numbers; write two"),
    "too wide": ('on = { task = "person", margin = 11 }', r"on.margin is 11; write a number of 0 to 10"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG)
def test_a_cascade_that_cannot_be_is_refused_by_name(text: str, sentence: str, tmp_path: Path) -> None:
    path = cascade_scene.project(tmp_path)
    written = path.read_text("utf-8").replace('on = { task = "person" }', text, 1)
    path.write_text(written, "utf-8")
    with pytest.raises(ConfigurationError, match=sentence):
        Settings.load(path)


def test_a_task_without_boxes_is_refused_at_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cascade_scene.project(tmp_path)
    path.write_text(path.read_text("utf-8").replace('on = { task = "face" }', 'on = { task = "mood" }', 2)
                    .replace('on = { task = "mood" }', 'on = { task = "face" }', 1), "utf-8")  # fmt: skip
    assert main(["build", str(path), "-o", str(tmp_path / "people.graft")]) == 78
    assert "'mood' finds no boxes" in capsys.readouterr().err
