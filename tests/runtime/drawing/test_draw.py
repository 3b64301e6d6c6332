"""Answers as pictures: what is drawn where, and that nothing of anybody's makes it fail or take for ever."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.pages.answer_pictures import scenes
from multigraft.answers.class_map import NOT_SEEN, ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.text import Text
from multigraft.errors import InputError, MissingDependencyError
from multigraft.runtime.answers import Answer, Classification, Raw, Values
from multigraft.runtime.drawing.colours import PALETTE, coloured, ink_on
from multigraft.runtime.drawing.draw import draw
from multigraft.runtime.drawing.lettering import lettered
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preprocessing import Frame

GREY = np.full((400, 400, 3), 90, np.uint8)


def found(boxes: Any, classes: Any = None, labels: tuple[str, ...] = (), **more: Any) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    numbers = np.zeros(len(corners), np.int32) if classes is None else np.array(classes, np.int32)
    return Detections(corners, np.full(len(corners), 0.9, np.float32), numbers, labels, **more)


def pixels(frame: Frame, **answers: Answer) -> Frame:
    return np.asarray(draw(frame, answers))


def where(picture: Frame, colour: tuple[int, int, int]) -> Any:
    """Rows and columns of the pixels of a colour."""
    return np.nonzero((picture == np.array(colour, np.uint8)).all(axis=2))


def test_a_box_is_drawn_where_it_is() -> None:
    rows, columns = where(pixels(GREY, a=found([[100, 120, 300, 320]], [2], ("x", "y", "z"))), PALETTE[2])
    assert abs(columns.min() - 100) <= 2
    assert abs(columns.max() - 300) <= 2
    assert abs(rows.max() - 320) <= 2
    assert 90 <= rows.min() <= 118, "its label stands above it"


def test_a_box_at_the_border_keeps_its_label_in_sight() -> None:
    with_box = where(pixels(GREY, a=found([[390, 0, 400, 50]], [1], ("x", "a long name"))), PALETTE[1])
    assert np.sum((with_box[1] < 380) & (with_box[0] < 30)) > 300


def test_small_frames_are_magnified_in_whole_steps() -> None:
    assert draw(np.zeros((28, 30), np.uint8), {}).size == (330, 308)
    picture = pixels(np.zeros((40, 40), np.uint8), a=found([[10, 10, 30, 30]]))
    assert abs(where(picture, PALETTE[0])[0].max() - 30 * 8) <= 2


def test_the_frame_stays_as_it_is() -> None:
    frame = GREY.copy()
    frame.setflags(write=False)
    pixels(frame, a=found([[1, 1, 50, 50]]))
    assert (frame == 90).all()


def test_a_mask_tints_its_own_pixels_alone() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[:, :50] = True
    picture = pixels(GREY, a=found([[200, 200, 300, 300]], masks=(mask,)))
    assert (picture[250, 230] != 90).any()
    assert (picture[250, 280] == 90).all()


def test_a_class_map_is_tinted_and_listed() -> None:
    classes = np.zeros((20, 20), np.int32)
    classes[:10] = 1
    classes[:, :5] = NOT_SEEN
    picture = pixels(GREY, a=ClassMap(classes, ("sky", "road", "car")))
    assert picture.shape[0] > 400, "the legend stands below"
    assert (picture[300, 50] == 90).all(), "the network did not look there"
    assert (picture[100, 300] != picture[300, 300]).any()


def test_a_dense_map_stands_beside_with_its_scale() -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 10, 10)
    picture = pixels(GREY, a=DenseMap(values))
    assert picture.shape[1] > 800
    assert picture[10, 410].sum() < picture[390, 790].sum(), "dark is little"


@pytest.mark.parametrize(
    "answer",
    [
        Classification("fair", 1, 0.9),
        Classification(None, 1, math.nan),
        Values(np.array([math.nan, 1], np.float32)),
        Raw((np.zeros((3, 4), np.float32),)),
        Text("ほげ \x1b[31m", 0.5),
        MultiLabel(np.array([0], np.int32), np.array([0.5], np.float32), ("日本語",)),
    ],
    ids=repr,
)
def test_an_answer_without_a_place_is_a_line_below(answer: Answer) -> None:
    picture = pixels(GREY, a=answer)
    assert picture.shape[0] > 400
    assert picture[400:].any()
    assert (picture[:400] == 90).all()


numbers = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -1e30])
texts = st.text(max_size=200)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(numbers, min_size=4, max_size=4), max_size=5),
    st.lists(numbers, min_size=15, max_size=15),
    texts,
    st.sampled_from([(1, 1), (1, 40), (30, 20, 1), (33, 7, 3)]),
)
def test_no_numbers_and_no_names_make_it_fail(
    boxes: list[list[float]], points: list[float], name: str, shape: tuple[int, ...]
) -> None:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    keypoints: Float32Array = np.tile(np.array(points, np.float32).reshape(1, 5, 3), (len(corners), 1, 1))
    masks = tuple(np.ones((3, 3), np.bool_) for _ in corners)
    answer = Detections(
        corners, corners[:, 0], np.full(len(corners), 7, np.int32), (name,) * 8, keypoints, ((0, 1), (2, 9)), masks
    )
    values = np.array(points, np.float32).reshape(1, 3, 5)
    draw(np.zeros(shape, np.uint8), {name: answer, "map": DenseMap(values), "text": Text(name, 0.5)})


def test_letters_that_no_font_has_are_written_as_escapes() -> None:
    assert lettered("a\U0010fffe", 14)[0] == "a\\U0010fffe"
    assert lettered("Größe", 14)[0] == "Größe"
    assert len(lettered("x" * 10_000, 14)[0]) <= 80


def test_letters_stand_out_from_their_ground() -> None:
    for colour in PALETTE:
        assert abs(np.mean(colour) - np.mean(ink_on(colour))) > 60


def test_the_scale_gets_lighter_all_the_way() -> None:
    scale = coloured(np.linspace(0, 1, 64, dtype=np.float32)[:, None])[:, 0].astype(float)
    assert (np.diff(scale @ [0.2126, 0.7152, 0.0722]) > -0.5).all()
    assert (coloured(np.array([[math.nan]], np.float32))[0, 0] == (128, 0, 32)).all()


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(InputError, match=r"float32 of shape \(3, 4\)"):
        draw(np.zeros((3, 4), np.float32), {})


def test_without_pillow_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"drawing needs Pillow, which is .*images"):
        draw(GREY, {})


@pytest.mark.parametrize("title", scenes())
def test_every_picture_of_the_page_shows_its_answers(title: str) -> None:
    frame, answers = scenes()[title]
    picture = np.asarray(draw(frame, answers))
    height, width = frame.shape[:2]
    assert picture.shape[:2] != (height, width) or (picture[:height, :width] != frame).any()
