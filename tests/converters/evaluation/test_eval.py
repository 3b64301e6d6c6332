"""``multigraft eval`` through the real command: boxes by pycocotools, classes by counting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from tests.converters import cascade_scene
from tests.converters.cascade_scene import PERSON, Person, picture
from tests.exit_bundle import build, policy

pytest.importorskip("pycocotools", reason="multigraft[eval] is not installed")
PIL = pytest.importorskip("PIL.Image", reason="multigraft[images] is not installed")
PEOPLE: list[tuple[Person, ...]] = [((5, 9, 1, 0),), ((4, 8, 1, 0), (36, 30, 0, 1)), (), ((20, 20, 0, 0),)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    settings = cascade_scene.project(folder, "float32")
    assert main(["build", str(settings), "-o", str(folder / "people.graft")]) == 0
    for number, people in enumerate(PEOPLE):
        PIL.fromarray(picture(*people)).save(folder / f"{number}.png")
    return folder


def labels(folder: Path, shift: int = 0, **changes: Any) -> Path:
    """The true boxes, moved to the right by ``shift`` pixels."""
    boxes = [(number, left, top) for number, people in enumerate(PEOPLE) for left, top, _, _ in people]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 64, "width": 64} for n in range(len(PEOPLE))],
        "categories": [{"id": 7, "name": "Person"}],
        "annotations": [
            {"id": i, "image_id": n, "category_id": 7, "bbox": [left + shift, top, PERSON, PERSON]}
            for i, (n, left, top) in enumerate(boxes, 1)
        ],
    }
    path = folder / f"labels{shift}.json"
    path.write_text(json.dumps(content | changes), "utf-8")
    return path


def evaluated(project: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["eval", str(project / "people.graft"), *arguments, "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["tasks"]
    return rows


def test_right_boxes_have_a_precision_of_one_beside_the_original(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = str(project / "multigraft.toml")
    (row,) = evaluated(project, "--labelled", str(labels(project)), "--settings", settings, capsys=capsys)
    assert (row["task"], row["frames"], row["boxes"]) == ("person", 4, 4)
    assert row["bundle"]["map50"] == row["original"]["map50"] == pytest.approx(1.0)
    assert row["bundle"]["map"] > 0.6


def test_boxes_elsewhere_have_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = evaluated(project, "--labelled", str(labels(project, 20)), capsys=capsys)
    assert row["bundle"]["map50"] < 0.1


def test_classes_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cascade_scene.judge(tmp_path / "mood.onnx", 2)
    faces = [np.full((16, 16, 3), (n // 4, 200, 200 * (n % 2)), np.uint8) for n in range(100)]
    np.save(tmp_path / "frames.npy", np.stack(faces))
    np.savez(tmp_path / "labelled.npz", frames=np.stack(faces[:10]), labels=np.array([0, 1] * 4 + [1, 0]))
    (tmp_path / "multigraft.toml").write_text(
        'frames = "frames.npy"\n[budget]\nmin_agreement = 0.8\n[[task]]\nname = "mood"\nmodel = "mood.onnx"\n'
        'kind = "classification"\npreprocessing = { size = [16, 16], color = "rgb" }\n',
        "utf-8",
    )
    assert main(["build", str(tmp_path / "multigraft.toml"), "-o", str(tmp_path / "people.graft")]) == 0
    capsys.readouterr()
    given = "--labelled", str(tmp_path / "labelled.npz"), "--settings", str(tmp_path / "multigraft.toml")
    (row,) = evaluated(tmp_path, *given, capsys=capsys)
    assert row == {"task": "mood", "frames": 10, "bundle": {"accuracy": 0.8}, "original": {"accuracy": 0.8}}


def test_a_gate_repeats_no_answers_among_frames_that_do_not_follow_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = build(policy(1e6, rule="change"), ("garment",))
    bundle.write(tmp_path / "people.graft")
    frames = np.random.default_rng(1).integers(0, 256, (30, 28, 28), np.uint8)
    whole = Engine(bundle, exits=False)
    answers = [whole.run(frame).answers["garment"] for frame in frames]
    classes = np.array([answer.index for answer in answers if isinstance(answer, Classification)])
    assert len(set(classes.tolist())) > 1
    np.savez(tmp_path / "labelled.npz", frames=frames, labels=classes)
    (row,) = evaluated(tmp_path, "--labelled", str(tmp_path / "labelled.npz"), capsys=capsys)
    assert row["bundle"] == {"accuracy": 1.0}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no form": ({"images": 3}, "holds no labels in COCO's form"),
    "no box": ({"annotations": [{"image_id": 0, "category_id": 7, "bbox": [1, 2]}]}, "has no box"),
    "a foreign class": ({"categories": [{"id": 7, "name": "dog"}]}, "has none of the classes person"),
    "a picture that is gone": ({"images": [{"id": n, "file_name": f"x{n}.png"} for n in range(4)]}, "x0.png the first"),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG.values(), ids=WRONG)
def test_labels_that_do_not_fit_are_one_sentence(
    changes: dict[str, Any], sentence: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = labels(project, **changes)
    assert main(["eval", str(project / "people.graft"), "--labelled", str(path)]) in (1, 2, 78)
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
