"""Which stored values a fused activation leaves, against the real values it is about."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.firmware_gen.arithmetic.activation_range import activation_range

BOUNDS = {
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "NONE": (-np.inf, np.inf),
}


@pytest.mark.parametrize("scale", [1 / 128, 0.02, 0.0234, 0.05, 0.5, 4.1, 100.0])
@pytest.mark.parametrize("zero_point", [-128, -100, 0, 37, 127])
@pytest.mark.parametrize("activation", BOUNDS)
def test_the_ends_are_the_stored_values_nearest_to_the_bounds(activation: str, zero_point: int, scale: float) -> None:
    low, high = BOUNDS[activation]
    real = (np.arange(-100_000, 100_001)) * float(np.float32(scale))
    nearest = [int(np.abs(real - bound).argmin()) - 100_000 + zero_point if np.isfinite(bound) else None
               for bound in (low, high)]  # fmt: skip
    expected = (
        -128 if nearest[0] is None else max(-128, nearest[0]),
        127 if nearest[1] is None else min(127, nearest[1]),
    )
    assert activation_range(activation, scale, zero_point) == expected


def test_halves_are_rounded_away_from_zero_and_no_activation_leaves_all() -> None:
    assert activation_range("RELU6", 4.0, 0) == (0, 2)
    assert activation_range("RELU_N1_TO_1", 2.0, 0) == (-1, 1)
    assert activation_range("RELU_N1_TO_1", 2.0, 10) == (9, 11)
    assert activation_range("RELU_0_TO_1", 2.0, -5) == (-5, -4)
    assert activation_range(None, 0.1, 3) == (-128, 127)
    assert {type(v) for v in activation_range("RELU6", 0.05, 0)} == {int}


def test_the_quotient_is_taken_in_single_precision() -> None:
    """6 / 0.16 is 37.5 to single precision and just below it to double: the stored value is 38, not 37."""
    scale = 0.16000000000000003
    assert 6.0 / scale < 37.5
    assert activation_range("RELU6", scale, 0) == (0, 38)
