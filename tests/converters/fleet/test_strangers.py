"""Sites that are alike are left alone; others are named, also where there are many and sites saw unequally much."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.field.drift import SIGNIFICANT, holm
from multigraft.converters.fleet.strangers import LEAST_SITES, Means, fleet_of, strangers
from multigraft.tensors.arrays import Float64Array

SIZE = 4


def means(seed: int, sites: int, between: float, moved: Float64Array | None = None) -> Means:
    """Sites whose means differ by a normal distribution, over 2 to 40 minibatches each."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((SIZE, SIZE))
    effects = between * random.standard_normal((sites, SIZE)) @ mix + 5
    if moved is not None:
        effects += moved[:, None] * np.diag(mix @ mix.T) ** 0.5
    counts = random.integers(2, 40, sites)
    found = Means(counts.astype(float), np.zeros((sites, SIZE)), np.zeros((sites, SIZE, SIZE)))
    for i, count in enumerate(counts):
        x = effects[i] + random.standard_normal((count, SIZE))
        found.means[i] = x.mean(axis=0)
        found.scatter[i] = (x - x.mean(axis=0)).T @ (x - x.mean(axis=0))
    return found


def named(found: Means) -> list[str]:
    fleet = fleet_of(found)
    assert fleet is not None
    return [
        one.site for one in strangers([f"{i:04}" for i in range(len(found.means))], {"image": fleet.compare(found)})
    ]


@pytest.mark.parametrize("between", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("sites", [LEAST_SITES, 100, 1000])
def test_few_fleets_of_like_sites_have_one_that_is_named(sites: int, between: float) -> None:
    alarms = sum(bool(named(means(seed, sites, between))) for seed in range(40))
    assert alarms <= 4, "a hundredth of fleets is promised, and two of 40 of small ones are no contradiction"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
def test_strange_sites_do_not_hide_each_other(share: float) -> None:
    moved = np.zeros(400)
    moved[: round(400 * share)] = 12.0
    assert set(named(means(3, 400, 1.0, moved))) == {f"{i:04}" for i in range(round(400 * share))}


def test_p_values_are_uniform_where_sites_are_alike() -> None:
    p = np.concatenate([fleet.compare(m)[1] for m in [means(s, 500, 1.0) for s in range(20)] if (fleet := fleet_of(m))])
    assert len(p) == 10_000
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.005) and np.mean(p) == pytest.approx(0.5, abs=0.02)


def test_too_few_sites_and_features_that_never_move_tell_nothing() -> None:
    assert fleet_of(means(1, LEAST_SITES - 1, 1.0)) is None
    still = means(1, 100, 1.0)
    still.means[:] = 3.0
    assert fleet_of(still) is None


def test_one_feature_that_never_moves_is_left_out() -> None:
    moved = np.zeros(100)
    moved[7] = 12.0
    found = means(2, 100, 1.0, moved)
    found.means[:, 2] = 1.0
    found.scatter[:, 2] = found.scatter[:, :, 2] = 0
    assert named(found) == ["0007"]


def test_holm_is_what_its_paper_says() -> None:
    adjusted = holm(np.array([[0.01, 0.04], [0.03, np.nan]]))
    assert adjusted[0].tolist() == pytest.approx([0.03, 0.06]) and adjusted[1, 0] == pytest.approx(0.06)
    assert np.isnan(adjusted[1, 1]) and SIGNIFICANT == 0.01
