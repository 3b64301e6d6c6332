"""Cuts of values: the best of all, and padding that stands for what it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.one_bit.signs_of_values import Cuts
from multigraft.tensors.arrays import Array


def left_over(values: Array, least: float) -> float:
    """Squared error of two means, one for either side."""
    sides = (values < least, values >= least)
    return float(sum(((values[s] - values[s].mean()) ** 2).sum() for s in sides if s.any()))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(-128, 127), st.integers(0, 10_000))
def test_no_other_cut_fits_better_and_a_padding_of_0_becomes_1(
    channels: int, places: int, zero_point: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(-128, 128, (50, channels * places)).clip(rng.integers(-128, 0), rng.integers(0, 128))
    steps = (stored - zero_point).astype(np.float32)
    cuts = Cuts.of(steps, channels, zero_point)
    signs = cuts.signs(steps)
    assert set(np.unique(signs)) <= {-1.0, 1.0} and (cuts.signs(np.zeros_like(steps)) == 1).all()
    for channel in range(channels):
        own = steps.reshape(50, channels, places)[:, channel]
        best = min(left_over(own, least) for least in range(-255, 256))
        assert np.isclose(left_over(own, float(cuts.least[channel])), best)
        told = signs.reshape(50, channels, places)[:, channel]
        assert ((own >= cuts.least[channel]) == (told == cuts.factors[channel])).all()


def test_a_channel_that_stands_still_is_no_obstacle() -> None:
    cuts = Cuts.of(np.zeros((9, 2), np.float32), 2, -128)
    assert not cuts.reach.any() and (cuts.signs(np.zeros((3, 2), np.float32)) == 1).all()


def test_a_cut_lies_in_the_middle_of_a_gap() -> None:
    steps = np.array([[0.0], [0], [200], [200]], np.float32)
    cuts = Cuts.of(steps, 1, -128)
    assert 95 <= cuts.least[0] <= 105 and abs(cuts.reach[0]) == 100
