"""Heads are judged on frames that they were not fitted on, and exits by what they save."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.exits.heads import FOLDS, Rows, as_stored, fit_head
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import Candidate, plan_exits
from multigraft.exits.thresholds import Asked, expected_rate

ASKED = Asked("selective", 0.02, 0.95)
TOTAL = 1000


def place(tensor: str, macs: int) -> Place:
    return Place("trunk", tensor, (8,), macs, False)


def world(frames: int = 1500, seed: int = 0) -> tuple[Rows, Rows]:
    """Features, and logits of three classes that they tell exactly."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(frames, 8)).astype(np.float32)
    return features, 3 * features @ random.normal(size=(8, 3)).astype(np.float32)


def test_noise_is_not_learnt_by_heart() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(100, 64)).astype(np.float32)
    logits = random.normal(size=(100, 3)).astype(np.float32)
    head = fit_head(features, logits, 0)
    agreed = (head.predicted.argmax(1) == logits.argmax(1)).mean()
    assert agreed < 0.55


def test_what_is_linear_is_found() -> None:
    features, logits = world()
    head = fit_head(features, logits, 0)
    np.testing.assert_allclose(features @ head.weight + head.bias, logits, atol=0.05)
    assert (head.predicted.argmax(1) == logits.argmax(1)).mean() > 0.99


def test_every_frame_is_predicted_by_a_head_without_it() -> None:
    features, logits = world(FOLDS * 4)
    head = fit_head(features, logits, 0)
    moved = logits.copy()
    moved[0] += 0.001
    again = fit_head(features, moved, 0)
    stretch = len(features) // FOLDS
    np.testing.assert_array_equal(head.predicted[:stretch], again.predicted[:stretch])
    assert (head.predicted[stretch:] != again.predicted[stretch:]).all()


def test_a_head_says_of_itself_what_it_will_do_in_int8() -> None:
    exact, logits = world()
    noisy = exact + 0.6 * np.random.default_rng(7).normal(size=exact.shape).astype(np.float32)
    # What is exact lies below one step of the range that it shares with what is noisy.
    features = np.hstack([0.02 * exact, noisy])
    stored = as_stored(features)
    step = (features.max() - features.min()) / 255
    assert len(np.unique(stored)) <= 257
    assert np.abs(stored - features).max() <= 0.5001 * step
    shown, said = 1000, {}
    for name, given in (("float", features), ("stored", stored)):
        head = fit_head(given[:shown], logits[:shown], 0)
        does = np.mean((stored[shown:] @ head.weight + head.bias - logits[shown:]) ** 2)
        said[name] = float(np.mean((head.predicted - logits[:shown]) ** 2) / does)
    assert said["float"] < 0.5
    assert said["stored"] == pytest.approx(1, abs=0.2)


def test_a_marginal_promise_of_a_later_exit_counts_all_frames() -> None:
    agrees = np.ones(1000, bool)
    agrees[-20:] = False
    sure, asked = np.linspace(1, 0, 1000), Asked("marginal", 0.02, 0.95)
    # 2 % of the half that reaches it are 1 % of all.
    assert expected_rate(sure, agrees, asked, 1000, 2000) == 1
    assert expected_rate(sure, agrees, asked, 1000) < 1


def test_the_earliest_place_that_knows_enough_wins() -> None:
    features, logits = world()
    blind = np.random.default_rng(3).normal(size=features.shape).astype(np.float32)
    candidates = [
        Candidate(place("blind", 100), 0, blind),
        Candidate(place("early", 300), 0, features),
        Candidate(place("late", 800), 0, features),
    ]
    plan = plan_exits(candidates, logits, TOTAL, ASKED, 2000, most=1)
    (found,) = plan.exits
    assert found.place.tensor == "early"
    assert found.expected_rate > 0.8
    assert plan.saved == pytest.approx(found.expected_rate * 0.7 - 8 * 3 / TOTAL)


def test_nothing_is_planned_where_nothing_is_known() -> None:
    _, logits = world()
    blind = np.random.default_rng(3).normal(size=(1500, 8)).astype(np.float32)
    assert plan_exits([Candidate(place("blind", 100), 0, blind)], logits, TOTAL, ASKED, 2000, most=2).exits == ()


def test_nothing_is_planned_where_frames_could_not_show_it() -> None:
    features, logits = world()
    candidates = [Candidate(place("early", 300), 0, features)]
    assert plan_exits(candidates, logits, TOTAL, ASKED, ASKED.least_frames - 1, most=1).exits == ()


def test_a_second_exit_serves_frames_that_the_first_does_not() -> None:
    features, logits = world(4000)
    random = np.random.default_rng(4)
    # Half of the frames stand out, so that a place that sees all of them through noise knows those.
    strength = np.where(np.arange(4000) % 2, 5.0, 0.3)[:, None].astype(np.float32)
    features, logits = features * strength, logits * strength
    early = (features + 0.2 * random.normal(size=features.shape)).astype(np.float32)
    candidates = [Candidate(place("early", 100), 0, early), Candidate(place("late", 500), 0, features)]
    two = plan_exits(candidates, logits, TOTAL, Asked("selective", 0.05, 0.95), 8000, most=2)
    one = plan_exits(candidates, logits, TOTAL, Asked("selective", 0.05, 0.95), 8000, most=1)
    assert two.saved > one.saved
    assert [e.place.tensor for e in two.exits] == ["early", "late"]
    assert len(two.exits[1].surenesses) < len(two.exits[0].surenesses)
