"""What settings and outputs say together of how answers are read, through the real reader of settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError
from tests.converters.cascade_scene import SIDE, detector
from tests.converters.onnx_builder import OnnxBuilder


def loaded(folder: Path, kind: str, rest: str = "") -> tuple[Network, list[str]]:
    """The network ``net.onnx`` of the folder, and what was said of it."""
    np.save(folder / "frames.npy", np.zeros((40, SIDE, SIDE, 3), np.uint8))
    path = folder / "multigraft.toml"
    path.write_text(
        f'frames = "frames.npy"\n[[task]]\nname = "task"\nmodel = "net.onnx"\nkind = "{kind}"\n'
        f'preprocessing = {{ size = [{SIDE}, {SIDE}], color = "rgb" }}\n{rest}\n',
        "utf-8",
    )
    said: list[str] = []
    return load_task(Settings.load(path).tasks[0], folder, said.append), said


def people(folder: Path) -> None:
    detector(folder / "net.onnx", SIDE, 0, 24)


def parts(folder: Path, *, is_last: bool = False) -> None:
    """Scores of three classes per pixel, at a quarter of the input."""
    b = OnnxBuilder(0)
    x = b.conv_relu("b", b.conv_relu("a", b.input("x", 3, SIDE, SIDE), 8, stride=2), 3, stride=2)
    if is_last:
        x = b.add("Transpose", "last", x, channels=3, perm=[0, 2, 3, 1])
    onnx.save(b.model(x), folder / "net.onnx")


def categories(folder: Path, *found: tuple[int, str]) -> None:
    content = {"images": [], "annotations": [], "categories": [{"id": i, "name": name} for i, name in found]}
    (folder / "coco.json").write_text(json.dumps(content), "utf-8")


def test_labels_of_a_coco_file_bring_their_numbers(tmp_path: Path) -> None:
    people(tmp_path)
    categories(tmp_path, (44, "person"))
    network, _ = loaded(tmp_path, "detection", 'labels = "coco.json"')
    assert network.labels == ("person",)
    assert isinstance(network.answer, AnswerFormat) and network.answer.category_ids == (44,)


def test_numbers_that_are_given_win(tmp_path: Path) -> None:
    people(tmp_path)
    categories(tmp_path, (44, "person"))
    network, _ = loaded(tmp_path, "detection", 'labels = "coco.json"\nanswer = { category_ids = [3] }')
    assert isinstance(network.answer, AnswerFormat) and network.answer.category_ids == (3,)


def test_names_of_a_coco_file_come_by_rising_numbers(tmp_path: Path) -> None:
    parts(tmp_path)
    categories(tmp_path, (90, "c"), (2, "a"), (13, "b"))
    assert loaded(tmp_path, "segmentation", 'labels = "coco.json"')[0].labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        ('labels = ["a"]\nanswer = { category_ids = [1, 2] }', "there are 2 category_ids and 1 labels"),
        ("answer = { category_ids = [1, 2] }", "2 labels, and output 0 holds 1 classes"),
        ("answer = { unclip_ratio = 2.0 }", "unclip_ratio belongs to db-text, and the outputs are read as centernet"),
        ("answer = { min_size = 0.5 }", "answer.min_size is 0.5"),
        ("answer = { unclip_ratio = 11 }", "answer.unclip_ratio is 11"),
        ("answer = { core_threshold = 1.0 }", "answer.core_threshold is 1.0"),
        ("answer = { category_ids = [-1] }", "answer.category_ids[0] is -1"),
        ("answer = { score_threshold = 0 }", "answer.score_threshold is 0"),
        ("answer = { iou_threshold = 1.5 }", "answer.iou_threshold is 1.5"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, rest: str, sentence: str) -> None:
    people(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, "detection", rest)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("is_last", [False, True])
def test_a_segmentation_that_names_no_format_is_a_class_map(tmp_path: Path, is_last: bool) -> None:
    parts(tmp_path, is_last=is_last)
    network, said = loaded(tmp_path, "segmentation")
    assert isinstance(network.answer, AnswerFormat) and network.answer.family == "class-map"
    assert "note: outputs of task are read as class-map" in said


def test_a_segmentation_may_stay_as_it_is(tmp_path: Path) -> None:
    parts(tmp_path)
    network, said = loaded(tmp_path, "segmentation", 'answer = { format = "raw" }')
    assert network.answer is None and not said
