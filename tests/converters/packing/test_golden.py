"""Golden inputs and outputs travel with every bundle, so large ones are few."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.packing.bundling import FEWEST_GOLDEN, GOLDEN_BYTES, recorded


@pytest.mark.parametrize(
    ("bytes_each", "kept"),
    [(10, 11), (GOLDEN_BYTES // 11, 11), (GOLDEN_BYTES // 5, 5), (GOLDEN_BYTES, FEWEST_GOLDEN)],
)
def test_as_many_cases_are_kept_as_there_is_room_for_and_two_at_least(bytes_each: int, kept: int) -> None:
    cases = [{"x": np.full(bytes_each - 4, number, np.uint8)} for number in range(11)]
    found = recorded(lambda case: {"y": case["x"][:4] + 1}, cases)
    assert [int(inputs["x"][0]) for inputs, _ in found] == list(range(kept))
    assert all((outputs["y"] == inputs["x"][:4] + 1).all() for inputs, outputs in found)
    assert kept == FEWEST_GOLDEN or kept * bytes_each <= GOLDEN_BYTES
