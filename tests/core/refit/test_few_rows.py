"""With fewer rows than inputs the dual form gives what the sums give, and less is computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.refit.few_rows import FewRows
from multigraft.refit.ridge import STRENGTHS, RidgeSums, Sums, fit, fit_rows


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    groups=st.integers(1, 3),
    rows=st.integers(2, 12),
    more=st.integers(1, 20),
    has_intercept=st.booleans(),
    strength=st.sampled_from(STRENGTHS),
)
def test_weights_and_errors_are_those_of_the_sums(
    seed: int, groups: int, rows: int, more: int, has_intercept: bool, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = rows + more, 3
    x, y = rng.normal(0.5, 1, (groups, rows, inputs)), rng.normal(1, 2, (groups, rows, outputs))
    prior = rng.normal(size=(groups, inputs, outputs))

    def solved(kind: type[Sums]) -> list[npt.ArrayLike]:
        one, other = (kind.empty(groups, inputs, outputs, has_intercept=has_intercept) for _ in range(2))
        one.add(x[:, ::2], y[:, ::2])
        other.add(x[:, 1::2], y[:, 1::2])
        sums = one + other
        weight, intercept = sums.solve(prior, strength)
        return [weight, intercept, sums.error(weight, intercept), sums.variance()]

    for ours, theirs in zip(solved(FewRows), solved(RidgeSums), strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bounds", [None, (0.0, np.inf), (0.0, 6.0)])
def test_a_layer_of_few_rows_is_solved_as_one_of_many(bounds: tuple[float, float] | None) -> None:
    """The same rows often enough are more than the inputs, and ask for the same weights."""
    rng = np.random.default_rng(3)
    x = rng.normal(0.3, 1, (1, 30, 40)).astype(np.float32)
    prior = rng.normal(size=(1, 40, 4))
    y = (x @ prior + rng.normal(0, 0.5, (1, 30, 4))).astype(np.float32)
    skip = rng.normal(0, 0.3, y.shape).astype(np.float32) if bounds else None
    held_out = np.arange(30) % 5 == 0
    few = fit_rows(x, y, held_out, prior, bounds, skip)
    x2, y2 = (np.concatenate([one, one], 1) for one in (x, y))
    many = fit_rows(x2, y2, np.tile(held_out, 2), prior, bounds, None if skip is None else np.tile(skip, (1, 2, 1)))
    assert few.strength == many.strength and few.relative_error < 0.1
    np.testing.assert_allclose(few.weight, many.weight, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(few.predict(x), many.predict(x), rtol=1e-3, atol=2e-3)


def test_the_strength_is_chosen_on_rows_held_out() -> None:
    rng = np.random.default_rng(5)
    prior = rng.normal(size=(1, 50, 2))
    x = rng.normal(size=(1, 20, 50))
    noise = rng.normal(0, 30, (1, 20, 2))
    train, test = (FewRows.empty(1, 50, 2) for _ in range(2))
    train.add(x[:, :15], (x @ prior + noise)[:, :15])
    test.add(x[:, 15:], (x @ prior)[:, 15:])
    assert fit(train, test, prior)[2] == max(STRENGTHS), "what is no more than noise is not followed"
