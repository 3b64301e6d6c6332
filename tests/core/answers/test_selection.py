"""Scores of all cells to candidates."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.answers.decoding.selection import are_logits, best_per_class, logit, sigmoid


def test_probabilities_and_raw_scores_are_told_by_their_values_unless_said() -> None:
    raw = np.random.default_rng(0).normal(-5, 2, (100, 3)).astype(np.float32)
    shares = sigmoid(raw)
    assert are_logits(raw, "")
    assert not are_logits(shares, "")
    raw[0, 0] = np.nan
    assert are_logits(raw, "")
    assert not are_logits(np.full((3, 3), np.nan, np.float32), "")
    assert not are_logits(raw, "probabilities")
    assert are_logits(shares, "logits")
    assert not are_logits(np.zeros((0, 3), np.float32), "")


def test_a_cell_counts_by_its_best_class_and_what_is_no_number_by_none() -> None:
    scores = np.array([[0.1, 0.2], [0.6, 0.7], [np.nan, 0.9], [0.5, 0.4]], np.float32)
    kept, best, classes = best_per_class(scores, 0.5)
    assert kept.tolist() == [1, 3]
    assert best.tolist() == pytest.approx([0.7, 0.5])
    assert classes.tolist() == [1, 0]


@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.25, 0.5, 0.999, 1.0])
def test_a_logit_is_what_a_sigmoid_undoes(probability: float) -> None:
    assert float(sigmoid(np.array([logit(probability)], np.float32))[0]) == pytest.approx(probability, abs=1e-6)
