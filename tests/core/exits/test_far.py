"""Whether a frame is far is decided in whole numbers where its whitened values are such."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.exits.far import make_is_far
from multigraft.tensors.specs import TensorSpec

INT8 = TensorSpec("white", (1, 4), "int8", 0.5, -3)
FLOAT = TensorSpec("white", (1, 4), "float32")


def test_a_frame_at_the_distance_is_none_and_one_step_further_is_far() -> None:
    array = np.full((1, 4), -3, np.int8)
    is_far = make_is_far(INT8, array, 2.5)
    assert not is_far()
    array[0, :2] = -3 + 3, -3 - 4
    assert not is_far(), "3 and 4 steps of a half are 2.5"
    array[0, 2] += 1
    assert is_far()


def test_the_farthest_values_do_not_overflow() -> None:
    wide = TensorSpec("white", (1, 20_000), "int8", 1.0, -128)
    array = np.full((1, 20_000), 127, np.int8)
    length = 255 * np.sqrt(20_000)
    assert make_is_far(wide, array, length - 1)()
    assert not make_is_far(wide, array, length + 1)()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_far(value: float) -> None:
    array = np.zeros((1, 4), np.float32)
    is_far = make_is_far(FLOAT, array, 1.0)
    assert not is_far()
    array[0, 2] = value
    assert is_far()
