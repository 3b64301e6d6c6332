"""Products in blocks of rows: right, and the same to the last bit on any number of cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.refit.row_blocks import ROWS, products, times


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1, 5, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 7]), st.integers(0, 99))
def test_they_are_the_products(groups: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((groups, rows, 6)), rng.standard_normal((groups, rows, 2))
    np.testing.assert_allclose(products(x, y), np.einsum("gra,grb->gab", x, y), rtol=1e-9, atol=1e-9)
    weight = rng.standard_normal((groups, 6, 2))
    np.testing.assert_allclose(times(x, weight), np.einsum("gra,gab->grb", x, weight), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_cores_gives_the_same_bits(
    dtype: type[np.floating[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1, 5 * ROWS + 11, 64)).astype(dtype)
    y = rng.standard_normal((1, 5 * ROWS + 11, 24)).astype(dtype)
    seen = []
    for cores in (1, 2, 16):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        seen.append((products(x, x), products(x, y), times(x, np.full((1, 64, 3), 1 / 3, dtype))))
    for other in seen[1:]:
        for one, same in zip(seen[0], other, strict=True):
            assert one.tobytes() == same.tobytes()


def test_no_rows_give_zeros() -> None:
    assert (products(np.zeros((2, 0, 3)), np.zeros((2, 0, 4))) == 0).all()
    assert times(np.zeros((2, 0, 3)), np.zeros((2, 3, 4))).shape == (2, 0, 4)
