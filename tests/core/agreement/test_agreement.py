"""Agreement per kind of task, and that its bound holds as often as it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from multigraft.agreement.agreement import agreement
from multigraft.agreement.binomial import lower_bound
from multigraft.answers.kind import KINDS, Kind
from multigraft.errors import InputError, UsageError

Array = npt.NDArray[Any]


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def spoil(output: Array, frames: int) -> Array:
    """The same with the first ``frames`` frames answered otherwise."""
    spoiled = output.copy()
    spoiled[:frames] = -output[:frames]
    return spoiled


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_agrees_with_itself_on_every_frame(kind: Kind) -> None:
    outputs = [noise(50, 4, 6, 6), noise(50, 3)]
    result = agreement(kind, outputs, outputs, confidence=0.95)
    assert result.value == 1
    assert result.frames == 50
    assert 0.05 ** (1 / 50) * 0.97 < result.lower_bound < 1


def test_classification_counts_frames_with_the_same_top_class() -> None:
    original = noise(200, 10)
    result = agreement("classification", [original], [spoil(original, 6)], confidence=0.95)
    assert result.value == 0.97
    # R: binom.test(194, 200, alternative = "greater")$conf.int[1]
    assert result.lower_bound == pytest.approx(0.94166, abs=1e-5)
    assert result.tolerance is None


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (-3.0, 2.0)])
def test_a_single_score_is_yes_or_no_for_probabilities_and_logits(low: float, high: float) -> None:
    original = np.where(np.arange(40) % 2, low, high).astype(np.float32)[:, None]
    new = original.copy()
    new[:4] = original[1:5]
    assert agreement("classification", [original], [new]).value == 0.9


def test_several_class_outputs_have_to_agree_all() -> None:
    a, b = noise(100, 5), noise(100, 3, seed=1)
    result = agreement("classification", [a, b], [spoil(a, 10), spoil(b[::-1], 10)[::-1]])
    assert result.value == 0.8


def test_regression_counts_frames_with_every_value_within_the_tolerance() -> None:
    original = noise(100, 3)
    new = original + 0.01
    new[:5, 1] += 0.5
    assert agreement("regression", [original], [new], tolerance=0.2).value == 0.95
    assert agreement("regression", [original], [new], tolerance=0.005).value == 0
    default = agreement("regression", [original], [new])
    assert default.value == 0.95 and default.tolerance == 0.05 and "range" in default.rule


def test_the_default_tolerance_follows_the_scale_of_each_output() -> None:
    small, large = noise(100, 1), 1000 * noise(100, 1, seed=1)
    assert agreement("regression", [small, large], [small + 0.1, large + 100]).value == 1
    assert agreement("regression", [small, large], [small + 10, large + 10]).value == 0


def test_landmarks_count_coordinates() -> None:
    original = noise(50, 10)
    new = original.copy()
    new[:, 0] += 9
    result = agreement("landmarks", [original], [new], tolerance=0.1)
    assert result.value == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(30, 4, 16, 20), (30, 16, 20, 4), (30, 1, 16, 20), (30, 16, 20)])
def test_segmentation_counts_pixels_and_bounds_by_frames(shape: tuple[int, ...]) -> None:
    original = noise(*shape)
    new = original.copy()
    rows = -2 if shape[-1] == 20 else 1
    index = [slice(None)] * len(shape)
    index[rows] = slice(0, 4)
    new[tuple(index)] *= -1
    result = agreement("segmentation", [original], [new])
    assert result.value == pytest.approx(0.75, abs=1e-9)
    assert result.frames == 30
    assert 0.75 - 0.3 < result.lower_bound < 0.75 - 0.05, "30 frames, not 9600 pixels"


def boxes_of(frames: int, count: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 0.5, (frames, count, 2))
    boxes = np.concatenate([corner, corner + 0.3], axis=2).astype(np.float32)
    scores = np.tile(np.linspace(0.95, 0.4, count, dtype=np.float32), (frames, 1))
    classes = np.tile(np.arange(count, dtype=np.float32) + 1, (frames, 1))
    return boxes, classes, scores


def test_detection_matches_boxes_of_the_same_class_in_any_order() -> None:
    boxes, classes, scores = boxes_of(20, 5)
    order = [4, 1, 0, 3, 2]
    same = agreement("detection", [boxes, classes, scores], [boxes[:, order], classes[:, order], scores[:, order]])
    assert same.value == 1 and same.tolerance == 0.5
    moved = boxes.copy()
    moved[:, 0] += 0.2
    assert agreement("detection", [boxes, classes, scores], [moved, classes, scores]).value == pytest.approx(0.8)
    renamed = classes.copy()
    renamed[:, 1:3] = 77
    assert agreement("detection", [boxes, classes, scores], [boxes, renamed, scores]).value == pytest.approx(0.6)


def test_detection_counts_missed_and_invented_boxes() -> None:
    boxes, classes, scores = boxes_of(20, 4)
    missed = scores.copy()
    missed[:, 2:] = 0.01
    assert agreement("detection", [boxes, classes, scores], [boxes, classes, missed]).value == pytest.approx(2 / 3)
    assert agreement("detection", [boxes, classes, missed], [boxes, classes, scores]).value == pytest.approx(2 / 3)
    scores[5:] = 0.01
    nothing = agreement("detection", [boxes, classes, scores], [boxes, classes, np.zeros_like(scores)])
    assert nothing.value == 0.75, "a frame without boxes in both agrees"


def test_detection_reads_scores_per_class() -> None:
    boxes, classes, scores = boxes_of(10, 3)
    per_class = np.zeros((10, 3, 7), np.float32)
    np.put_along_axis(per_class, classes.astype(int)[:, :, None], scores[:, :, None], axis=2)
    swapped = per_class[:, :, ::-1]
    assert agreement("detection", [boxes, per_class], [boxes, per_class]).value == 1
    assert agreement("detection", [boxes, per_class], [boxes, swapped]).value == pytest.approx(1 / 3)


def test_detection_without_boxes_falls_back_to_relative_error() -> None:
    raw = [noise(10, 30, 4), noise(10, 30, 6, seed=1)]
    result = agreement("detection", raw, [raw[0] * 1.01, raw[1]], tolerance=0.7)
    assert result.value == 1 and result.tolerance == 0.1 and "relative error" in result.rule


def test_other_kinds_compare_by_relative_error() -> None:
    original = noise(100, 30)
    factor = np.where(np.arange(100) < 25, 1.2, 1.05)[:, None].astype(np.float32)
    assert agreement("other", [original], [original * factor]).value == 0.75
    assert agreement("other", [original], [original * factor], tolerance=0.3).value == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_that_gives_nan_does_not_agree(kind: Kind) -> None:
    original = np.abs(noise(40, 1, 5, 5))
    new = original.copy()
    new[:10, 0, 0, 0] = np.nan
    assert agreement(kind, [original], [new]).value == 0.75


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        agreement("other", [noise(4, 3)], [noise(4, 2)])
    with pytest.raises(InputError, match="NaN"):
        agreement("other", [np.full((4, 3), np.nan)], [noise(4, 3)])
    for frames, confidence in ((0, 0.95), (4, 1.0), (4, 0.0)):
        with pytest.raises(UsageError):
            agreement("other", [noise(frames, 3)], [noise(frames, 3)], confidence=confidence)


def test_json_holds_every_figure() -> None:
    plain = json.loads(json.dumps(agreement("other", [noise(4, 3)], [noise(4, 3)]).to_json()))
    assert set(plain) == {"value", "lower_bound", "confidence", "frames", "kind", "tolerance", "rule", "is_graded"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.floats(0.001, 0.999), st.floats(0.5, 0.999))
def test_the_binomial_bound_covers_at_least_as_often_as_it_says(trials: int, p: float, confidence: float) -> None:
    successes = np.arange(trials + 1)
    bounds = np.array([lower_bound(int(k), trials, confidence) for k in successes])
    assert np.all(np.diff(bounds) > 0)
    assert binom.pmf(successes, trials, p)[bounds <= p].sum() >= confidence - 1e-9


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.5, 0.99))
def test_bounds_never_exceed_what_was_seen(trials: int, share: float, confidence: float) -> None:
    successes = round(share * trials)
    assert lower_bound(successes, trials, confidence) <= successes / trials + 1e-12
