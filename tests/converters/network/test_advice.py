"""What is said of labels, preprocessing and frames that are not what was meant; and nothing where all is well."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.answers.kind import Kind
from multigraft.converters.network.advice import advice_on_frames, advice_on_preprocessing, check_labels
from multigraft.errors import InputError
from multigraft.tensors.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
COLOUR = [RNG.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(4)]
PLAIN = Preprocessing(32, 32)


@pytest.mark.parametrize(
    ("mean", "scale", "words"),
    [
        ((0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225), "reach 1,136"),
        ((0.485, 0.456, 0.406), (1 / 58, 1 / 57, 1 / 57), "multiply it by 255"),
    ],
)
def test_units_of_one_are_noticed_where_pixels_are_meant(
    mean: tuple[float, ...], scale: tuple[float, ...], words: str
) -> None:
    (sentence,) = advice_on_preprocessing("digit", Preprocessing(32, 32, "rgb", mean, scale))
    assert words in sentence and "digit" in sentence


@pytest.mark.parametrize(
    ("mean", "scale"), [((0.0,), (1.0,)), ((123.7,), (1 / 58.4,)), ((127.5,), (1 / 127.5,)), ((0.0,), (1 / 255,))]
)
def test_usual_preprocessing_is_not_spoken_of(mean: tuple[float, ...], scale: tuple[float, ...]) -> None:
    assert list(advice_on_preprocessing("digit", Preprocessing(32, 32, "rgb", mean * 3, scale * 3))) == []


@pytest.mark.parametrize(
    ("frames", "preprocessing", "words"),
    [
        ([np.repeat(f[..., :1], 3, axis=2) for f in COLOUR], PLAIN, "are grey, and its network takes colour"),
        ([f[..., 0] for f in COLOUR], PLAIN, "are grey, and its network takes colour"),
        ([np.full((48, 48, 3), (9, 10, 11), np.uint8)] * 4, PLAIN, "of one brightness (10 of 255)"),
        ([f[:12] for f in COLOUR], Preprocessing(12, 12), "stretched from 12 x 48 to 12 x 12 pixels"),
        (COLOUR, Preprocessing(224, 224), "enlarged from 48 x 48 to 224 x 224 pixels"),
    ],
)
def test_frames_that_differ_from_what_the_network_was_made_for(
    frames: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], preprocessing: Preprocessing, words: str
) -> None:
    (sentence,) = advice_on_frames("digit", preprocessing, frames)
    assert words in sentence


def test_frames_that_fit_are_not_spoken_of() -> None:
    assert list(advice_on_frames("digit", PLAIN, COLOUR)) == []
    grey = Preprocessing(32, 32, "grey", (0.0,), (1.0,))
    assert list(advice_on_frames("digit", grey, [f[..., 0] for f in COLOUR])) == []


def test_labels_of_another_number_than_the_classes_are_refused() -> None:
    with pytest.raises(InputError, match="has 2 labels, and its network has 10 outputs"):
        list(check_labels("digit", "classification", ("a", "b"), [(10,)]))


@pytest.mark.parametrize(
    ("kind", "labels", "shape"),
    [
        ("classification", ("a", "b"), (2,)),
        ("classification", ("yes", "no"), (1,)),
        ("classification", (), (7,)),
        ("segmentation", ("a", "b"), (2, 8, 8)),
        ("other", ("a", "b"), (7,)),
    ],
)
def test_labels_that_may_be_right_are_taken(kind: Kind, labels: tuple[str, ...], shape: tuple[int, ...]) -> None:
    assert list(check_labels("digit", kind, labels, [shape])) == []


def test_labels_that_fit_no_dimension_of_a_segmentation_are_named() -> None:
    (sentence,) = check_labels("road", "segmentation", ("a", "b", "c"), [(2, 8, 8)])
    assert sentence == "road has 3 labels, and its output is 2 x 8 x 8"
