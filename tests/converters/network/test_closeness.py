"""When two versions of a network count as equal."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.network.closeness import TOLERANCE, difference
from multigraft.tensors.arrays import Array


def floats(*values: float) -> list[Array]:
    return [np.array(values, np.float32)]


@pytest.mark.parametrize(
    ("new", "old", "is_equal"),
    [
        pytest.param(floats(1.0, 2.0), floats(1.0, 2.001), True, id="rounding"),
        pytest.param(floats(1.0, 2.0), floats(1.0, 2.01), False, id="more than rounding"),
        pytest.param(floats(0.01004, 0.002), floats(0.01, 0.002), True, id="a sigmoid near 0"),
        pytest.param(floats(4e-5, 1e-5), floats(1e-5, 4e-5), False, id="another order of small values"),
        pytest.param(floats(0.0, 0.0), floats(1e-5, 1e-5), False, id="nothing in place of small values"),
        pytest.param(floats(0.0, np.nan), floats(0.0, 0.0), False, id="NaN"),
        pytest.param(floats(0.0), floats(0.0, 0.0), False, id="another shape"),
    ],
)
def test_rounding_is_no_difference_and_another_computation_is(
    new: list[Array], old: list[Array], is_equal: bool
) -> None:
    assert (difference(new, old) <= TOLERANCE) == is_equal
