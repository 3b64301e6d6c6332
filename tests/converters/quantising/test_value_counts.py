"""The range of least error: found from counts of values, and not far from the best that trying finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.quantising.ranges import observe
from multigraft.converters.quantising.value_counts import STEPS, Counts, counts, least_error_range
from tests.converters.graph_builder import GraphBuilder, feeds

Values = npt.NDArray[np.float32]


def rounding_error(values: Values, low: float, high: float) -> float:
    """Mean squared error of values stored in 8 bits over a range."""
    step = (high - low) / STEPS
    stored = np.clip(np.round(values / step), np.round(low / step), np.round(high / step)) * step
    return float(((values - stored) ** 2).mean())


def counted(values: Values) -> Counts:
    total: Counts = np.stack([counts(part) for part in np.array_split(values, 40)]).sum(0, dtype=np.int32)
    return total


@pytest.mark.parametrize("shape", ["normal", "rectified", "negative", "heavy tails"])
def test_it_is_nearly_the_best_range_there_is(shape: str) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_t(3, 100_000) if shape == "heavy tails" else rng.standard_normal(100_000)
    values = {"rectified": np.maximum(values, 0), "negative": -np.abs(values)}.get(shape, values).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    chosen = rounding_error(values, *least_error_range(counted(values), low, high))
    best = min(
        rounding_error(values, min(low, 0) * share, max(high, 0) * share) for share in np.geomspace(0.05, 1, 100)
    )
    assert chosen < 1.1 * best and chosen < rounding_error(values, min(low, 0), max(high, 0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=50))
def test_it_lies_within_all_values_and_holds_zero(values: list[float]) -> None:
    array = np.array(values, np.float32)
    low, high = float(array.min()), float(array.max())
    chosen = least_error_range(counts(array), low, high)
    assert min(low, 0.0) <= chosen[0] <= max(low, 0.0) and min(high, 0.0) <= chosen[1] <= max(high, 0.0)


def test_values_that_fill_their_range_keep_it() -> None:
    values = np.linspace(0, 1, 10_000, dtype=np.float32)
    assert least_error_range(counts(values), 0.0, 1.0) == (0.0, 1.0)
    assert least_error_range(counts(np.zeros(10, np.float32)), 0.0, 0.0) == (0.0, 0.0)


def test_every_channel_of_a_large_tensor_is_looked_at() -> None:
    """Positions are left out, and no channel: one in 64 has all the large values."""
    values = np.zeros((1, 64, 64, 64), np.float32)
    values[..., 17] = 3.0
    assert counts(values)[counts(np.full(1, 3.0, np.float32)).argmax()] > 0


def test_answers_and_what_is_only_moved_keep_the_range_of_what_they_move() -> None:
    b = GraphBuilder()
    first = b.conv("first", b.input("x", 1, 16, 16, 3), 8, activation="RELU")
    moved = b.op("RELU", "moved", [first], b.tensors[first].shape)
    graph = b.graph(b.op("RELU", "y", [b.conv("second", moved, 4)], (1, 16, 16, 4)))
    frames = feeds(graph, 24)
    frames[0]["x"][0, 0, 0] *= 30
    seen = observe(graph, frames)
    assert seen.narrowed and set(seen.narrowed) <= {"first", "moved"}
    assert seen.narrow["moved"][1] == min(seen.narrow["first"][1], seen.ranges["moved"][1])
    for name in ("x", "second", "y"):
        assert seen.narrow[name] == seen.ranges[name]
