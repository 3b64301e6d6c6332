"""An own format that is a function: built, judged, evaluated and run, with consent and without, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from tests.converters.cascade_scene import PERSON, SIDE, detector, picture, pictures

PIL = pytest.importorskip("PIL.Image", reason="multigraft[images] is not installed")
CODE = '''
import numpy as np

def decode(outputs, labels, size):
    """The surest cell is where a person is; everything is larger than the network says."""
    heat, sides, _ = outputs
    assert heat.shape[0] == 1 and labels == ("person",) and size == (64, 64)
    row, column = np.unravel_index(heat[0].argmax(), heat.shape[1:])
    x, y, half = 2 * column + 1, 2 * row + 1, sides[0, row, column]
    return np.array([[x - half, y - half, x + half, y + half, heat.max(), 0]])
'''
SETTINGS = """frames = "frames.npy"
[budget]
min_agreement = 0.8
[convert]
precision = "float32"
[[task]]
name = "person"
model = "net.onnx"
kind = "detection"
labels = ["person"]
preprocessing = { size = [64, 64], color = "rgb" }
answer = { format = "own_people:decode" }
"""
TRUST = "--trust-code"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    detector(folder / "net.onnx", SIDE, 0, PERSON)
    np.save(folder / "frames.npy", np.stack(pictures(200)))
    (folder / "own_people.py").write_text(CODE, "utf-8")
    (folder / "multigraft.toml").write_text(SETTINGS, "utf-8")
    PIL.fromarray(picture((20, 30, 0, 0))).save(folder / "7.png")
    content = {
        "images": [{"id": 7, "file_name": "7.png"}],
        "categories": [{"id": 3, "name": "person"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [20, 30, PERSON, PERSON]}],
    }
    (folder / "coco.json").write_text(json.dumps(content), "utf-8")
    assert main(["build", str(folder / "multigraft.toml"), "-o", str(folder / "people.graft"), TRUST]) == 0
    return folder


def test_the_bundle_knows_nothing_of_the_function_and_was_judged_by_it(project: Path) -> None:
    bundle = Bundle.open(project / "people.graft")
    (task,) = bundle.manifest.tasks
    assert task.answer is None
    assert "own_people" not in json.dumps(bundle.manifest.to_json())
    assert task.fidelity["bundle_agreement"]["value"] == 1
    assert "IoU of at least 0.5" in task.fidelity["bundle_agreement"]["rule"]


def test_a_device_gives_numbers_or_asks_the_function_that_it_is_given(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    run = ["run", "people.graft", "--source", "7.png"]
    assert main(run) == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]["person"]["outputs"]) == 3
    assert main([*run, "--decode", "person=own_people:decode", TRUST]) == 0
    (found,) = json.loads(capsys.readouterr().out)["answers"]["person"]["detections"]
    assert found["label"] == "person"
    np.testing.assert_allclose(found["box"], [20, 30, 20 + PERSON, 30 + PERSON], atol=2)


def test_eval_asks_it_for_the_bundle_and_for_the_original(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="multigraft[eval] is not installed")
    given = ["--labelled", str(project / "coco.json"), "--settings", str(project / "multigraft.toml"), TRUST]
    assert main(["eval", str(project / "people.graft"), *given, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tasks"]
    assert row["bundle"]["map50"] == row["original"]["map50"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["build", "multigraft.toml", "-o", "x.graft"],
            "own_people:decode runs Python code from the folder of the set",
        ),
        (
            ["run", "people.graft", "--source", "7.png", "--decode", "person=own_people:decode"],
            "from the current folder",
        ),
        (["run", "people.graft", "--source", "7.png", "--decode", "person", TRUST], "is not of the form TASK=MODULE"),
        (["run", "people.graft", "--source", "7.png", "--decode", "dog=own_people:decode", TRUST], "has no task 'dog'"),
        (["run", "people.graft", "--source", "7.png", "--decode", "person=own_people:no", TRUST], "no function 'no'"),
    ],
)
def test_what_does_not_go_is_one_sentence(
    arguments: list[str], sentence: str, project: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(project)
    monkeypatch.delenv("MULTIGRAFT_TRUST_CODE", raising=False)
    assert main(arguments) != 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert sentence in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('answer = { format = "own_people:decode", most = 3 }', "most is of no use to own_people:decode"),
        (
            'answer = { format = "own_people:decode" }\n[[task]]\nname = "face"\nmodel = "net.onnx"\n'
            'kind = "detection"\npreprocessing = { size = [64, 64], color = "rgb" }\non = { task = "person" }',
            "is 'person', whose boxes own_people:decode makes, which no bundle carries",
        ),
    ],
)
def test_settings_that_ask_for_more_are_one_sentence(
    change: str, sentence: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "changed.toml"
    path.write_text(SETTINGS.replace('answer = { format = "own_people:decode" }', change), "utf-8")
    assert main(["build", str(path), "-o", str(project / "x.graft"), TRUST]) != 0
    assert sentence in capsys.readouterr().err.splitlines()[-1]
