"""Noise on released sums: how much it is, what it hides, what a file says of it.

OpenDP draws from the system's randomness, so that nothing here can be seeded. Bounds are so wide that chance breaks one
in fewer than a thousand million runs; each test says by what.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from multigraft.errors import InputError, MissingDependencyError, UsageError
from multigraft.statistics import entries, statistics_file
from multigraft.statistics.combining import combine_files
from multigraft.statistics.noise import (
    DELTA,
    UNIT,
    Privacy,
    TapBounds,
    length_of,
    noise_from_json,
    noise_to_json,
    sensitivity,
)
from multigraft.statistics.noising import noised, scale_of
from multigraft.statistics.release import Release
from multigraft.statistics.statistics import Statistics
from tests.calibration.samples import SUBJECT, released, statistics
from tests.core.statistics.noised_samples import BOUNDS, Whole, block, frames, sums_of, with_noise

A, B = "a" * 16, "b" * 16


def delta_of(epsilon: float, scale: float, moved: float) -> float:
    """The least delta of Gaussian noise: Balle and Wang, ICML 2018, theorem 8."""
    near, far = moved / (2 * scale), epsilon * scale / moved
    return float(stats.norm.cdf(near - far) - math.exp(epsilon) * stats.norm.cdf(-near - far))


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 2.0, 8.0, 20.0])
@pytest.mark.parametrize("delta", [1e-12, DELTA, 1e-3])
def test_the_scale_is_what_another_formula_asks_for(epsilon: float, delta: float) -> None:
    taps = 7
    scale, moved = scale_of(Privacy(epsilon, delta), taps), sensitivity(taps)
    assert delta_of(epsilon, scale, moved) <= delta < delta_of(epsilon, scale / 2, moved)


def test_noise_has_the_scale_that_the_file_says() -> None:
    """Of n draws the deviation is off by 1 in sqrt(2 n), the mean by 1 in sqrt(n): 7 times that is < 1e-11."""
    bounds = {tap.name: TapBounds(48, 1.0, is_sketch=True) for tap in SUBJECT.taps}
    empty = Statistics(SUBJECT, 8)
    empty.overall.frames = 64
    made = noised(empty, Privacy(2.0), bounds)
    noise = made.overall.sums[entries.BOUNDED].whole().astype(np.float64)
    assert made.noise is not None and len(noise) == length_of(bounds) == 18_720
    scale = math.sqrt(made.noise.variance)
    assert scale == scale_of(Privacy(2.0), len(bounds))
    assert abs(noise.std() / scale - 1) < 7 / math.sqrt(2 * len(noise))
    assert abs(noise.mean()) / scale < 7 / math.sqrt(len(noise))
    # Draws are apart from each other: neighbours tell nothing.
    assert abs(np.mean(noise[1:] * noise[:-1])) / scale**2 < 7 / math.sqrt(len(noise))


@pytest.mark.parametrize("taps", [1, 2, 5])
def test_no_frame_moves_the_sums_farther_than_the_sensitivity(taps: int) -> None:
    random = np.random.default_rng(0)
    single = np.zeros((taps, 6), np.int64)
    single[:, 0] = UNIT
    spread = np.full((taps, 4), UNIT // 2)
    some = random.standard_normal((50, taps, 6))
    some = np.trunc(some / np.linalg.norm(some, axis=2, keepdims=True) * (UNIT - 1)).astype(np.int64)
    moved = [float(np.linalg.norm(sums_of(z.reshape(1, -1)).astype(np.float64))) for z in (single, spread, *some)]
    assert max(moved) <= sensitivity(taps) and moved[0] >= sensitivity(taps) * (1 - 1e-12)


def guessed(others: Whole, candidates: Whole, epsilon: float | None) -> bool:
    """Whether an attacker who knows all frames but one tells which of two candidates the last one is."""
    truth = block(np.concatenate([others, candidates[:1]]))
    seen = (truth if epsilon is None else noised(truth, Privacy(epsilon), BOUNDS)).overall.sums[entries.BOUNDED]
    rest = (seen.whole() - sums_of(others)).astype(np.float64)
    # The most likely of two means under equal noise is the nearer one: no attacker does better.
    distances = [float(np.linalg.norm(rest - sums_of(c[None]))) for c in candidates]
    return distances[0] < distances[1]


def test_who_knows_all_frames_but_one_hardly_learns_that_one() -> None:
    """Of two candidates, where either may be exchanged for none: (epsilon, delta) for each, so twice it for both.

    The chance of a right guess is at most e^2eps / (1 + e^2eps) (Kairouz, Oh and Viswanath, ICML 2015); of 300 trials
    it is passed by .2 with a chance of exp(-2 * 300 * .2^2) = 4e-11 (Hoeffding).
    """
    epsilon, trials = 0.25, 300
    others = frames(40)
    pairs = [frames(2, seed=seed) for seed in range(1, trials + 1)]
    assert all(guessed(others, pair, None) for pair in pairs)
    limit = math.exp(2 * epsilon) / (1 + math.exp(2 * epsilon))
    assert np.mean([guessed(others, pair, epsilon) for pair in pairs]) < limit + 0.2


def test_a_file_with_noise_holds_the_bounded_sums_and_numbers_of_frames_alone(tmp_path: Path) -> None:
    made = with_noise(64, 2.0)
    path = statistics_file.write(made, tmp_path / "a.mgstats")
    read = statistics_file.read(path)
    assert read == made and read.noise == made.noise
    for tally in (read.overall, *read.places.values()):
        assert not tally.counts and not tally.lows and not tally.highs
    assert set(read.overall.sums) == {entries.BOUNDED} and not any(t.sums for t in read.places.values())
    assert all(s.frames == 0 for s in (*read.groups, *read.periods)) and read.frames == 64
    manifest = json.loads(zipfile.ZipFile(path).read("manifest.json"))["noise"]
    assert (manifest["epsilon"], manifest["delta"], manifest["frames"]) == (2.0, DELTA, 64)
    assert "discrete Gaussian" in manifest["mechanism"] and "one frame" in manifest["unit"]
    assert [bound["radius"] for bound in manifest["bounds"]] == [2.0] * 4 and "least and" in str(manifest["left_out"])


def test_readers_that_look_for_no_noise_still_read_what_is_there(tmp_path: Path) -> None:
    read = statistics_file.read(statistics_file.write(with_noise(64, 2.0), tmp_path / "a.mgstats"))
    assert not read.similarity().unbiased_cka().any() and read.ranges() == {} and read.precision() is None


@pytest.mark.parametrize("change", ["epsilon", "frames", "bounds", "tap", "radius", "variance", "numbers"])
def test_noise_that_contradicts_its_sums_is_refused(change: str) -> None:
    made = with_noise(64, 2.0)
    assert made.noise is not None
    data = noise_to_json(made.noise)
    assert noise_from_json(data) == made.noise
    changes = {
        "epsilon": {"epsilon": -1}, "frames": {"frames": 65}, "bounds": {"bounds": data["bounds"][:1]},
        "tap": {"bounds": [{**bound, "tap": "x"} for bound in data["bounds"]]},
        "radius": {"bounds": [{**data["bounds"][0], "radius": 0}, *data["bounds"][1:]]},
        "variance": {"variance": 1e300},
        "numbers": {"bounds": [{**bound, "numbers": 10**6} for bound in data["bounds"]]},
    }  # fmt: skip
    try:
        made.noise = noise_from_json(data | changes[change])
    except ValueError:
        return
    with pytest.raises(InputError, match="noise"):
        statistics_file.from_bytes(statistics_file.to_bytes(made), "a file")


def test_releases_of_two_stores_add_up_with_their_noise(tmp_path: Path) -> None:
    paths = []
    for store, epsilon, seed in ((A, 2.0, 1), (B, 0.5, 2)):
        made = with_noise(64, epsilon, seed)
        made.releases = {store: Release(1, 64)}
        paths.append(statistics_file.write(made, tmp_path / store))
    parts = [statistics_file.read(path) for path in paths]
    combined = combine_files(paths)
    noise = combined.statistics.noise
    assert noise is not None and all(p.noise is not None for p in parts)
    assert (noise.epsilon, noise.frames) == (2.0, 128)
    assert noise.variance == sum(p.noise.variance for p in parts if p.noise)
    assert f"each of its 128 frames is (2, {DELTA:g})-differentially private" in combined.apart[-1]
    again = statistics_file.read(statistics_file.write(combined.statistics, tmp_path / "sum"))
    assert again == combined.statistics


def test_with_frames_that_have_none_the_weaker_promise_is_said(tmp_path: Path) -> None:
    plain = statistics(1, 8)
    plain.releases = {A: Release(1, plain.frames)}
    hidden = with_noise(128, 2.0)
    hidden.releases = {B: Release(1, 128)}
    paths = [released(plain, tmp_path / "a"), statistics_file.write(hidden, tmp_path / "b")]
    for order in (paths, paths[::-1]):
        combined = combine_files(order)
        assert "of its 192 frames 128 are (2," in combined.apart[-1] and "the 64 others" in combined.apart[-1]
    again = statistics_file.read(statistics_file.write(combined.statistics, tmp_path / "sum"))
    assert again.noise == hidden.noise and again.frames == 192


def test_frames_bounded_in_two_ways_do_not_add_up() -> None:
    one, two = with_noise(64, 2.0), with_noise(64, 2.0, 1)
    assert two.noise is not None
    first = next(iter(BOUNDS))
    two.noise = dataclasses.replace(two.noise, bounds={**BOUNDS, first: TapBounds(4, 3.0, is_sketch=False)})
    with pytest.raises(UsageError, match="bounded in different ways"):
        one.merge(two)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, 1e-6), (-1, 1e-6), (1e9, 1e-6), (float("nan"), 1e-6), (1, 0.0), (1, 0.5)]
)
def test_figures_that_promise_nothing_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(UsageError, match=r"(epsilon|delta) is .*; give"):
        Privacy(epsilon, delta)


def test_without_opendp_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "opendp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opendp", None)
    with pytest.raises(MissingDependencyError, match=r"needs OpenDP, which is not installed; run: .*\[privacy\]"):
        noised(block(frames(8)), Privacy(1.0), BOUNDS)
