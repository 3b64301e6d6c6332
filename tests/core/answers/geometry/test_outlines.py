"""Regions of masks, hulls and rectangles against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.geometry.connected_regions import connected_regions
from multigraft.answers.geometry.polygons import convex_hull, smallest_rectangle
from multigraft.tensors.arrays import Array

ndimage = pytest.importorskip("scipy.ndimage")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**31))
def test_regions_are_those_of_scipy(rows: int, columns: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    labelled, count = ndimage.label(mask, np.ones((3, 3)))
    found = connected_regions(mask, 10_000)
    assert sorted(r.pixels for r in found) == sorted(np.bincount(labelled.ravel())[1:].tolist())
    assert [r.pixels for r in found] == sorted((r.pixels for r in found), reverse=True)
    assert len({labelled[r.rows[0], r.first[0]] for r in found}) == count
    for region in found:
        of_it = labelled == labelled[region.rows[0], region.first[0]]
        assert region.rows.tolist() == np.flatnonzero(of_it.any(axis=1)).tolist()
        for row, first, last in zip(region.rows, region.first, region.last, strict=True):
            inside = np.flatnonzero(of_it[row])
            assert (first, last) == (inside[0], inside[-1])
    assert [r.pixels for r in connected_regions(mask, 2)] == [r.pixels for r in found[:2]]


def spiral(size: int) -> Array:
    """One path a pixel wide that winds inwards, with a pixel between its turns."""
    mask = np.zeros((size, size), np.bool_)
    low, high = 0, size - 1
    while high > low:
        mask[low, max(low - 1, 0) : high + 1] = mask[low : high + 1, high] = True
        mask[high, low + 1 : high + 1] = mask[low + 2 : high + 1, low + 1 - 1] = True
        low, high = low + 2, high - 2
    return mask


def test_long_ways_are_one_region() -> None:
    mask = spiral(201)
    expected = ndimage.label(mask, np.ones((3, 3)))[1]
    assert len(connected_regions(mask, 100)) == expected
    comb = np.zeros((200, 401), np.bool_)
    comb[:, ::2] = True
    comb[-1] = True
    assert len(connected_regions(comb, 100)) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**31), st.sampled_from([3, 30, 1000]))
def test_a_hull_holds_all_points_and_turns_one_way(count: int, seed: int, grid: int) -> None:
    points = np.random.default_rng(seed).integers(0, grid, (count, 2)).astype(np.float64)
    hull = convex_hull(points)
    assert {tuple(p) for p in hull} <= {tuple(p) for p in points}
    if len(hull) < 3:
        return
    sides = np.roll(hull, -1, axis=0) - hull
    following = np.roll(sides, -1, axis=0)
    assert (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] > 0).all()
    to_points = points[None] - hull[:, None]
    assert (sides[:, None, 0] * to_points[..., 1] - sides[:, None, 1] * to_points[..., 0] >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(3, 80), st.floats(1, 50), st.integers(0, 2**31))
def test_the_rectangle_around_a_turned_rectangle_is_that_one(
    turn: float, width: float, height: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    own = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    inner = random.uniform(0, 1, (30, 2)) * (width, height)
    corners, sides = smallest_rectangle(np.concatenate([inner, own]) @ axes + 100)
    assert sorted(sides) == pytest.approx(sorted([width, height]), rel=1e-6)
    distances = np.linalg.norm(corners[:, None] - (own @ axes + 100)[None], axis=2)
    assert distances.min(axis=1) == pytest.approx(np.zeros(4), abs=1e-6)
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    assert lengths[:2] == pytest.approx(sides)


@pytest.mark.parametrize("points", [[[3, 4]], [[3, 4], [3, 4]], [[0, 0], [4, 0], [2, 0]]])
def test_points_in_a_row_have_a_rectangle_without_area(points: list[list[float]]) -> None:
    corners, sides = smallest_rectangle(np.array(points, np.float64))
    assert np.isfinite(corners).all() and sides.min() == 0
