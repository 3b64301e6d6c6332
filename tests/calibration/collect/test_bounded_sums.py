"""What a frame adds to sums that get noise: never more than the bound, and enough to see which taps are alike."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from multigraft.calibration.collect.bounded_sums import MOST_TAPS, MOST_TOGETHER, BoundedSums
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.statistics import entries
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.noise import UNIT, Noise, length_of, numbers_of, sensitivity
from multigraft.statistics.noised_similarity import noised_similarity
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Terms
from tests.calibration.networks import frames, taps_bundle

RUNNER = TapsRunner(taps_bundle())


def lengths(bounded: BoundedSums, added: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[int]:
    """Squares of the lengths of what a frame adds, tap by tap, as whole numbers."""
    edges = np.cumsum([0, *(bound.numbers for bound in bounded.bounds.values())])
    whole = added.astype(np.int64)
    assert (whole == added).all()
    return [int((row[a:b] ** 2).sum()) for row in whole for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e3, 1e30, 3e38, np.inf, np.nan])
def test_no_frame_adds_more_than_the_bound_whatever_it_gives(size: float) -> None:
    bounded = BoundedSums(RUNNER, RUNNER.taps)
    random = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = (size * random.standard_normal((200, numbers_of(bounded.bounds)))).astype(np.float32)
        rows[::2] *= random.random(rows.shape[1]) < 0.05
    assert max(lengths(bounded, bounded.added(rows))) <= UNIT**2


def test_a_frame_moves_the_sums_by_no_more_than_the_sensitivity() -> None:
    bounded = BoundedSums(RUNNER, RUNNER.taps)
    moved = []
    for frame in (*frames(20), np.zeros((12, 12), np.uint8), np.full((12, 12), 255, np.uint8)):
        RUNNER.run(frame)
        bounded.look()
        terms = Terms()
        bounded.summarise(terms)
        assert len(terms.sums[entries.BOUNDED]) == length_of(bounded.bounds)
        moved.append(float(np.linalg.norm(terms.sums[entries.BOUNDED])))
    assert 0 < max(moved) <= sensitivity(len(bounded.bounds))


def test_bounds_come_from_no_frame_of_the_source() -> None:
    first = BoundedSums(RUNNER, RUNNER.taps).bounds
    for frame in frames(50, light=0.1):
        RUNNER.run(frame)
    assert BoundedSums(TapsRunner(taps_bundle()), RUNNER.taps).bounds == first
    assert all(0 < bound.numbers <= 64 and bound.radius > 0 for bound in first.values())


def test_of_many_taps_each_network_keeps_its_first_and_last() -> None:
    names = tuple(f"net{number}" for number in range(12))
    runner = TapsRunner(taps_bundle(names))
    bounds = BoundedSums(runner, runner.taps).bounds
    assert list(bounds) == [f"{name}/relu{i}" for name in names for i in (1, 2)] and numbers_of(bounds) <= MOST_TOGETHER
    one = TapsRunner(taps_bundle(("only",)))
    many = tuple(dataclasses.replace(one.taps[0], name=f"only/{i}") for i in range(3 * MOST_TAPS))
    one.arrays |= {tap.name: one.arrays["only/relu1"] for tap in many}
    chosen = list(BoundedSums(one, many).bounds)
    assert len(chosen) == MOST_TAPS and (chosen[0], chosen[-1]) == (many[0].name, many[-1].name)


def test_cka_is_that_of_the_representations() -> None:
    """With no noise to speak of, what is left is the chance of the sketches."""
    runner = TapsRunner(taps_bundle())
    bounded, terms = BoundedSums(runner, runner.taps), Terms()
    exact, count = SimilaritySums([tap.name for tap in runner.taps]), 512
    rows: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {tap.name: [] for tap in runner.taps}
    for frame in frames(count, seed=3):
        runner.run(frame)
        bounded.look()
        for name, kept in rows.items():
            kept.append(runner.arrays[name].reshape(-1).copy())
    bounded.summarise(terms)
    exact.add([np.array(kept) for kept in rows.values()])
    statistics = Statistics(runner.subject({}, 0))
    statistics.overall.frames = count
    statistics.overall.sums[entries.BOUNDED] = ExactSums.of_whole(terms.sums[entries.BOUNDED].astype(np.int64))
    statistics.noise = Noise(1.0, 1e-6, "none to speak of", count, 1.0, bounded.bounds)
    found = noised_similarity(statistics)
    assert found is not None
    error = np.abs(found.cka - exact.unbiased_cka())
    assert error.max() < 0.2 and (error <= 2 * found.half_width + 0.05).all()
