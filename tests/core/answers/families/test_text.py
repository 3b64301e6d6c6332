"""Text: characters through CTC, and lines through DB."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.placement import Placement
from multigraft.answers.text import Text
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

ALPHABET = tuple(string.ascii_lowercase)


def ctc(shape: Shape, labels: tuple[str, ...] = ALPHABET) -> AnswerFormat:
    answer = recognised(Evidence((shape,), ("out",), (48, 320), "other", labels), "ctc")
    assert answer is not None
    return answer


def steps_of(text: str, characters: tuple[str, ...], blank: int, random: np.random.Generator) -> Float32Array:
    """Probabilities, steps x classes: each character for a step or more, nothing between equal ones."""
    numbers: list[int] = []
    for character in text:
        number = characters.index(character)
        if (numbers and numbers[-1] == number) or random.random() < 0.5:
            numbers.append(blank)
        numbers += [number] * int(random.integers(1, 4))
    numbers += [blank] * 2
    rows = np.full((len(numbers), len(characters)), 0.1 / (len(characters) - 1), np.float32)
    rows[np.arange(len(numbers)), numbers] = 0.9
    return rows


@settings(max_examples=30, deadline=None)
@given(
    st.text(string.ascii_lowercase, max_size=12),
    st.sampled_from(["", "logits", "logarithms"]),
    st.booleans(),
    st.sampled_from([0, -1, 7]),
    st.integers(0, 2**31),
)
def test_text_comes_back(text: str, form: str, classes_first: bool, blank: int, seed: int) -> None:
    place = blank % 27
    characters = (*ALPHABET[:place], "", *ALPHABET[place:])
    steps = steps_of(text, characters, place, np.random.default_rng(seed))
    # As many steps as classes do not tell which axis is which; steps are then taken to come first.
    assume(not classes_first or steps.shape[0] != steps.shape[1])
    if form:
        steps = np.log(steps) + np.float32(5 if form == "logits" else 0)
    output = steps.T if classes_first else steps
    decode = decoder_of(dataclasses.replace(ctc(output.shape), blank=blank), ALPHABET)
    answer = decode([output])
    assert isinstance(answer, Text)
    assert answer.text == text
    assert answer.score == pytest.approx(0.9 if text else 0, abs=1e-5)
    assert answer.to_json() == {"text": text, "score": round(answer.score, 4)}


def test_a_space_at_the_end_and_all_classes_named_are_understood() -> None:
    random = np.random.default_rng(0)
    paddle = ("", *ALPHABET, " ")
    whole = ("<blank>", *ALPHABET)
    for characters, labels, text in ((paddle, ALPHABET, "a bc"), (whole, whole, "xyz")):
        output = steps_of(text, characters, 0, random)
        answer = recognised(Evidence((output.shape,), ("out",), (48, 320), "other", labels))
        assert answer is not None and answer.family == "ctc"
        read = decoder_of(answer, labels)([output])
        assert isinstance(read, Text) and read.text == text


def test_uncertain_text_is_no_text_and_no_numbers_are_nothing() -> None:
    output = steps_of("abc", ("", *ALPHABET), 0, np.random.default_rng(0))
    least = dataclasses.replace(ctc(output.shape), score_threshold=0.95)
    answer = decoder_of(least, ALPHABET)([output])
    assert isinstance(answer, Text) and answer.text == "" and answer.score == pytest.approx(0.9)
    for value in (np.nan, np.inf, -np.inf):
        broken = output.copy()
        broken[0] = value
        read = decoder_of(ctc(output.shape), ALPHABET)([broken])
        assert isinstance(read, Text) and np.isfinite(read.score)
        decoder_of(ctc(output.shape), ALPHABET)([np.full_like(output, value)])
    infinite = np.log(np.where(output < 0.5, 0, output), where=output >= 0.5, out=np.full_like(output, -np.inf))
    read = decoder_of(ctc(output.shape), ALPHABET)([infinite])
    assert isinstance(read, Text) and read.text == "abc"


def test_an_alphabet_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"26 characters, and output 0 is 40 x 90"):
        decoder_of(ctc((40, 90)), ALPHABET)
    with pytest.raises(ConfigurationError, match=r"output 0 is 1 x 1 x 90 and has to be steps x classes"):
        ctc((1, 1, 90))
    plain = Evidence(((40, 27),), ("out",), (48, 320), "other", tuple(f"class{i}" for i in range(26)))
    assert recognised(plain) is None


def map_of(lines: list[tuple[float, float, float, float, float]], rows: int, columns: int) -> Float32Array:
    """Probability 0.9 in turned rectangles: centre x, centre y, width, height, turn."""
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    likely = np.full((rows, columns), 0.02, np.float32)
    for cx, cy, width, height, turn in lines:
        along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        across = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
        likely[(np.abs(along) <= width / 2) & (np.abs(across) <= height / 2)] = 0.9
    return likely


def db(shape: Shape, size: tuple[int, int]) -> AnswerFormat:
    answer = recognised(Evidence((shape,), ("sigmoid",), size, "detection"), "db-text")
    assert answer is not None
    return answer


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(-0.75, 0.75), st.integers(1, 4), st.booleans())
def test_lines_of_text_come_back(seed: int, turn: float, count: int, raw: bool) -> None:
    random = np.random.default_rng(seed)
    lines = [
        (150 + random.uniform(-3, 3), 60.0 + 110 * i, random.uniform(40, 110), random.uniform(9, 20), turn)
        for i in range(count)
    ]
    likely = map_of(lines, 480, 320)
    output = (np.log(likely / (1 - likely)) if raw else likely)[None]
    found = decoder_of(db((1, 480, 320), (960, 640)), ())([output])
    assert isinstance(found, Detections) and found.corners is not None
    assert len(found) == count
    for corners in found.corners[np.argsort(found.corners[:, :, 1].mean(axis=1))]:
        cx, cy, width, height, _ = lines.pop(0)
        moved = width * height * 1.6 / (2 * (width + height))
        np.testing.assert_allclose(corners.mean(axis=0), (2 * cx, 2 * cy), atol=2.5)
        wide, high = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
        assert wide == pytest.approx(2 * (width + 2 * moved), abs=7)
        assert high == pytest.approx(2 * (height + 2 * moved), abs=7)
        direction = corners[1] - corners[0]
        assert np.arctan2(direction[1], direction[0]) == pytest.approx(turn, abs=0.12)
    # The border that belongs to a rectangle is of what lies around it.
    assert ((found.scores > 0.65) & (found.scores <= 0.9001)).all()


def test_upright_lines_are_exact_and_placed_on_the_frame() -> None:
    likely = map_of([(50, 30, 40, 10, 0)], 64, 96)
    found = decoder_of(db((1, 64, 96), (64, 96)), ())([likely[None]])
    placed = found.placed(Placement.of_regions((128, 192), None, None, (64, 96)))
    assert isinstance(placed, Detections) and placed.corners is not None
    moved = 40 * 10 * 1.6 / 100
    left, top, right, bottom = 2 * (30 - moved), 2 * (25 - moved), 2 * (70 + moved), 2 * (35 + moved)
    expected = [[[left, top], [right, top], [right, bottom], [left, bottom]]]
    np.testing.assert_allclose(placed.corners, expected, atol=1e-3)
    np.testing.assert_allclose(placed.boxes, [[left, top, right, bottom]], atol=1e-3)


def test_weak_thin_and_broken_maps_are_no_text() -> None:
    decode = decoder_of(db((1, 64, 96), (64, 96)), ())
    weak = np.minimum(map_of([(50, 30, 40, 10, 0)], 64, 96), 0.45)
    thin = map_of([(50, 30, 40, 2, 0)], 64, 96)
    for likely in (weak, thin, np.full((64, 96), np.nan), np.full((64, 96), np.inf), np.zeros((64, 96))):
        found = decode([likely[None].astype(np.float32)])
        assert isinstance(found, Detections) and len(found) == 0
    some = map_of([(50, 30, 40, 10, 0)], 64, 96)
    some[:10] = np.nan
    found = decode([some[None]])
    assert isinstance(found, Detections) and len(found) == 1


def test_rings_around_rings_end() -> None:
    y, x = np.mgrid[0:736, 0:736]
    rings = np.where(np.maximum(abs(x - 368), abs(y - 368)) % 4 < 2, 0.9, 0).astype(np.float32)
    answer = dataclasses.replace(db((1, 736, 736), (736, 736)), score_threshold=0.0, most=5)
    found = decoder_of(answer, ())([rings[None]])
    assert isinstance(found, Detections) and len(found) == 5


def test_maps_that_do_not_fit_are_named_and_others_are_recognised() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 is 8400 and has to be one map"):
        db((8400,), (640, 640))
    found = recognised(Evidence(((1, 64, 96),), ("out",), (64, 96), "detection"))
    assert found is not None and found.family == "db-text" and found.score_threshold == 0.5
    other = recognised(Evidence(((1, 64, 96),), ("out",), (64, 96), "segmentation"))
    assert other is not None and other.family == "class-map"


def test_what_is_text_and_how_far_its_lines_reach_can_be_said() -> None:
    likely = map_of([(60, 40, 60, 12, 0.0), (60, 90, 60, 12, 0.0)], 128, 128)
    likely[70:] *= np.float32(0.5)

    def found(**changes: Any) -> Detections:
        answer = dataclasses.replace(db((1, 128, 128), (128, 128)), score_threshold=0.1, **changes)
        lines = decoder_of(answer, ())([likely[None]])
        assert isinstance(lines, Detections)
        return lines

    assert (len(found()), len(found(core_threshold=0.6)), len(found(min_size=20))) == (2, 1, 0)
    tight, wide = (found(unclip_ratio=ratio).boxes[0] for ratio in (0.5, 2.5))
    # A core of about 60 x 12: its area over its perimeter is 5 pixels.
    np.testing.assert_allclose((tight - wide)[:2], 2 * 5, atol=0.5)
    np.testing.assert_allclose((wide - tight)[2:], 2 * 5, atol=0.5)
