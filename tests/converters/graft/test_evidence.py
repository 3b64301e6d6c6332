"""How many frames fit and how many are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.converters.graft.evidence import Evidence, advice_on_answers, split
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError
from tests.converters.graft.networks import residual_network

TEXT = """\
frames = "frames.npy"
[bundle]
name = "pair"
[budget]
min_agreement = 0.8
[[task]]
name = "one"
model = "one.onnx"
kind = "classification"
preprocessing = { size = [4, 4], color = "grey" }
"""


@pytest.mark.parametrize(
    ("count", "fit", "accept", "prove"),
    [(512, 342, 56, 114), (2048, 512, 512, 1024), (100, 67, 16, 17), (46, 16, 16, 14), (60, 30, 16, 14)],
)
def test_a_third_is_held_out_where_there_are_many_frames(
    tmp_path: Path, count: int, fit: int, accept: int, prove: int
) -> None:
    evidence = split(list(np.zeros((count, 4, 4), np.uint8)), loaded(tmp_path), tmp_path / "frames.npy")
    assert (len(evidence.fit), len(evidence.accept), len(evidence.prove)) == (fit, accept, prove)


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes 14 held-out frames"):
        split(list(np.zeros((45, 4, 4), np.uint8)), loaded(tmp_path), tmp_path / "frames.npy")


def test_a_detector_whose_answers_are_no_boxes_is_warned_of() -> None:
    """And one that finds nothing on the frames; not one whose boxes can be compared, nor another kind of network."""
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8))
    raw = residual_network("raw", 0, kind="detection")
    (sentence,) = advice_on_answers(raw, Evidence(frames, frames))
    assert sentence.startswith("raw shows no boxes") and "within 0.1" in sentence and 'kind = "other"' in sentence
    boxes = np.tile(np.array([0.1, 0.2, 0.5, 0.6], np.float32), (4, 3, 1))
    for score, warnings in ((0.9, 0), (0.1, 1)):
        answers = {"raw": [boxes, np.full((4, 3), score, np.float32)]}
        assert len(advice_on_answers(raw, Evidence(frames, frames, answers))) == warnings
    assert not advice_on_answers(residual_network("plain", 0), Evidence(frames, frames))


@pytest.mark.parametrize(("others", "warnings"), [(0, 1), (1, 1), (2, 0), (50, 0)])
def test_a_classification_that_says_one_class_of_all_frames_is_warned_of(others: int, warnings: int) -> None:
    frames = [np.zeros((8, 8), np.uint8)] * 100
    logits = np.tile(np.array([0, 2, 1], np.float32), (100, 1))
    logits[:others] = (3, 0, 0)
    for labels, told in (((), "class 1"), (("no", "yes", "perhaps"), "'yes'"), (("one",), "class 1")):
        network = residual_network("plain", 0)
        network.labels = labels
        said = advice_on_answers(network, Evidence(frames, frames, {"plain": [logits]}))
        assert len(said) == warnings
        assert all(told in sentence and "a constant would agree as often" in sentence for sentence in said)


@pytest.mark.parametrize(("fires", "warnings"), [(0, 1), (1, 1), (2, 0), (98, 0), (99, 1), (100, 1)])
def test_a_single_score_on_one_side_of_all_frames_is_warned_of(fires: int, warnings: int) -> None:
    frames = [np.zeros((8, 8), np.uint8)] * 100
    score = np.full((100, 1), 0.01, np.float32)
    score[:fires] = 0.9
    said = advice_on_answers(residual_network("plain", 0), Evidence(frames, frames, {"plain": [score]}))
    told = "above 0.5" if fires > 50 else "of at most 0.5"
    assert len(said) == warnings and all(told in sentence for sentence in said)


@pytest.mark.parametrize("shape", [(100,), (100, 1)])
def test_classes_that_a_network_chose_itself_are_no_scores(shape: tuple[int, ...]) -> None:
    frames, network = [np.zeros((8, 8), np.uint8)] * 100, residual_network("plain", 0)
    classes = np.arange(100).reshape(shape) % 7 + 1
    assert not advice_on_answers(network, Evidence(frames, frames, {"plain": [classes]}))
    (sentence,) = advice_on_answers(network, Evidence(frames, frames, {"plain": [np.full(shape, 3)]}))
    assert "100 of 100 held-out frames with class 3," in sentence


def test_numbers_that_a_constant_would_give_within_the_tolerance_are_warned_of() -> None:
    frames, network = [np.zeros((8, 8), np.uint8)] * 100, residual_network("plain", 0, kind="regression")
    evidence = Evidence(frames, frames, {"plain": [np.linspace(20, 21, 200, dtype=np.float32).reshape(100, 2)]})
    (sentence,) = advice_on_answers(network, evidence, 2.0)
    assert "alike on 100 of 100 held-out frames by its tolerance of 2," in sentence
    assert not advice_on_answers(network, evidence, 0.1) and not advice_on_answers(network, evidence)
    of_few = Evidence(frames[:10], frames[:10], {"plain": [np.full((10, 1), 1, np.float32)]})
    assert not advice_on_answers(network, of_few)


def test_one_number_that_comes_near_0_is_not_to_be_compared_by_its_relative_error() -> None:
    frames, network = [np.zeros((8, 8), np.uint8)] * 100, residual_network("plain", 0, kind="other")
    score = np.geomspace(1e-5, 1, 100, dtype=np.float32)[:, None]
    (sentence,) = advice_on_answers(network, Evidence(frames, frames, {"plain": [score]}))
    assert 'kind = "classification"' in sentence and '"regression"' in sentence
    assert not advice_on_answers(network, Evidence(frames, frames, {"plain": [score + 20]}), 1e-3)
    assert len(advice_on_answers(network, Evidence(frames, frames, {"plain": [score + 20]}), 0.1)) == 1


def test_a_detector_whose_answers_are_decoded_is_warned_of_where_it_finds_nothing() -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8))
    found = residual_network("found", 0, kind="detection")
    found.answer = AnswerFormat("yolov8", ((6, 84),), (64, 64), {"predictions": 0}, strides=(8, 16, 32))
    output = np.zeros((4, 6, 84), np.float32)
    output[:, :4] = np.array([32, 32, 16, 16], np.float32)[:, None]
    (sentence,) = advice_on_answers(found, Evidence(frames, frames, {"found": [output]}))
    assert sentence.startswith("found finds something on 0 of 4 held-out frames") and "frames that hold" in sentence
    output = output.copy()
    output[1, 4, 0] = 0.9
    assert not advice_on_answers(found, Evidence(frames, frames, {"found": [output]}))


def loaded(folder: Path) -> Settings:
    (folder / "one.onnx").write_bytes(b"x")
    np.save(folder / "frames.npy", np.zeros((1, 4, 4), np.uint8))
    (folder / "multigraft.toml").write_text(TEXT, "utf-8")
    return Settings.read(folder / "multigraft.toml")
