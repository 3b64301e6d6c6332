"""Statistics files: merging changes no bit in any order, what is held is right, nothing of a single frame is held."""

from __future__ import annotations

import functools
import operator
import zipfile
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.exact_sums import ExactSums, add_all
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import GROUPS, STUDENT_T, Minibatch, Statistics, combine
from multigraft.statistics.statistics_file import to_bytes
from multigraft.statistics.value_histogram import RELATIVE_ERROR, count, percentile
from multigraft.tensors.arrays import Float64Array
from tests.calibration.samples import FRAMES, SUBJECT, minibatch, released, statistics

REALS = st.floats(-(2.0**50), 2.0**50, allow_nan=False, width=64)


@settings(derandomize=True)
@given(st.lists(REALS, min_size=1, max_size=30), st.randoms())
def test_exact_sums_are_the_rounded_terms_added_exactly(terms: list[float], random: Random) -> None:
    expected = sum(Fraction(round(Fraction(t) * 2**62), 2**62) for t in terms)
    shuffled = list(terms)
    random.shuffle(shuffled)
    sums, again = ExactSums((1,)), ExactSums((1,))
    for a, b in zip(terms, shuffled, strict=True):
        sums.add([a])
        again.add([b])
    assert sums == again
    high, low = map(int, sums.to_array()[:, 0])
    assert Fraction(high) + Fraction(low, 2**62) == expected
    assert sums.values()[0] == pytest.approx(float(expected), rel=1e-15, abs=0)


@settings(derandomize=True)
@given(st.lists(REALS, min_size=2, max_size=20), st.integers(1, 19))
def test_exact_sums_merge_as_if_added_to_one(terms: list[float], cut: int) -> None:
    whole, left, right = ExactSums(()), ExactSums(()), ExactSums(())
    for number, term in enumerate(terms):
        whole.add(term)
        (left if number < cut else right).add(term)
    assert left.merge(right) == right.merge(left) == whole == ExactSums.from_array(whole.to_array())


def test_arrays_of_all_sizes_are_added_as_one_by_one() -> None:
    random = np.random.default_rng(0)
    shapes = {"large": (70, 60), "small": (3, 4), "one": (), "larger": (5000,)}
    terms = [{name: random.normal(size=shape) for name, shape in shapes.items()} for _ in range(3)]
    sums = add_all(add_all({}, terms[0]), terms[1])
    before = {name: held.to_array() for name, held in sums.items()}
    found = add_all(sums, terms[2])
    for name, shape in shapes.items():
        expected = ExactSums(shape)
        for term in terms:
            expected.add(term[name])
        assert found[name] == expected and found[name].shape == shape
        np.testing.assert_array_equal(sums[name].to_array(), before[name])
    for name in shapes:
        with pytest.raises(InputError, match="infinite"):
            add_all(sums, {**terms[2], name: np.full(shapes[name], np.inf)})
    with pytest.raises(UsageError, match="large has two shapes"):
        add_all(sums, {"large": np.zeros(3)})
    assert add_all(sums, {}) == sums


@pytest.mark.parametrize("term", [np.nan, np.inf, 2.0**61])
def test_exact_sums_refuse_what_they_cannot_hold_and_stay_as_they_are(term: float) -> None:
    sums = ExactSums((2,))
    sums.add([1.0, 2.0])
    with pytest.raises(InputError):
        sums.add([1.0, term])
    assert sums.values().tolist() == [1.0, 2.0]


@settings(derandomize=True)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=200), st.floats(0, 100))
def test_percentiles_are_within_the_stated_relative_error(values: list[float], percent: float) -> None:
    data = np.array(values, np.float32)
    expected = float(np.percentile(data, percent, method="inverted_cdf"))
    assert percentile(count(data), percent) == pytest.approx(expected, rel=RELATIVE_ERROR, abs=2e-38)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.permutations(range(5)), st.integers(1, 4), st.integers(0, 1000))
def test_files_merge_in_any_order_and_grouping_to_the_same_bytes(order: list[int], cut: int, seed: int) -> None:
    places = [("a", "2026-05-01"), ("a", "2026-05-02"), ("b", "2026-05-01"), ("b", "2026-05-01"), ("c", "2026-05-03")]
    parts = [statistics(seed + i, count=3 + 2 * i, place=place) for i, place in enumerate(places)]
    straight = combine(parts)
    shuffled = [parts[i] for i in order]
    left, right = (functools.reduce(operator.add, part) for part in (shuffled[:cut], shuffled[cut:]))
    assert left + right == straight == right + left
    assert to_bytes(left + right) == to_bytes(straight)
    assert straight.frames == sum(p.frames for p in parts)
    grouped, expected = (left + right).precision(), straight.precision()
    assert grouped is not None and expected is not None
    np.testing.assert_array_equal(grouped, expected)


def test_two_runs_of_one_site_add_up_to_what_one_run_over_both_would_sum() -> None:
    batches = [minibatch(i) for i in range(12)]
    one, first, second = (Statistics(SUBJECT, FRAMES) for _ in range(3))
    for number, batch in enumerate(batches):
        one.add(batch, ("a", "d"))
        (first if number < 5 else second).add(batch, ("a", "d"))
    merged = first + second
    assert merged.overall == one.overall and merged.places == one.places
    assert merged.similarity() == one.similarity()


def test_a_file_reads_back_equal_and_writes_equal_bytes(tmp_path: Path) -> None:
    held = statistics(1, 20)
    path = released(held, tmp_path / "a.mgstats")
    again = statistics_file.read(path)
    assert again == held.coalesced()
    statistics_file.write(again, tmp_path / "b.mgstats")
    assert (tmp_path / "b.mgstats").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("frames", [11, 13])
def test_no_tensor_of_the_file_has_a_frame_dimension(tmp_path: Path, frames: int) -> None:
    # Neither the number of frames (a prime) nor of minibatches shows in any shape, and shapes do not grow with them.
    def shapes(minibatches: int) -> dict[str, tuple[int, ...]]:
        held = Statistics(SUBJECT, frames)
        for number in range(minibatches):
            held.add(minibatch(number, frames), ("a", "d"))
        path = released(held, tmp_path / f"{minibatches}.mgstats")
        found: dict[str, tuple[int, ...]] = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npz"):
                    with archive.open(name) as member, np.load(member) as arrays:
                        found |= {f"{name}/{k}": arrays[k].shape for k in arrays.files}
        return found

    few, many = shapes(17), shapes(31)
    assert few == many
    assert not any({frames, 17, 31, 17 * frames} & set(shape) for shape in few.values())


def test_below_the_minimum_nothing_is_written(tmp_path: Path) -> None:
    held = statistics(2, 3, minimum=FRAMES * 4)
    with pytest.raises(UsageError, match="24 frames, fewer than the minimum of 32"):
        released(held, tmp_path / "a.mgstats")
    assert list(tmp_path.iterdir()) == []


def test_what_no_store_has_released_is_not_written(tmp_path: Path) -> None:
    # Two files that differ by a minibatch would show its sums.
    held = statistics(1, 20)
    read = statistics_file.read(released(held, tmp_path / "a.mgstats"))
    more = statistics_file.read(tmp_path / "a.mgstats")
    more.add(minibatch(99), ("a", "2026-05-01"))
    for unreleased in (held, read + held, more):
        with pytest.raises(UsageError, match="no store has released are not written"):
            statistics_file.write(unreleased, tmp_path / "b.mgstats")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mgstats"]
    other = statistics_file.read(released(statistics(2, 20), tmp_path / "c.mgstats"))
    assert statistics_file.read(statistics_file.write(read + other, tmp_path / "b.mgstats")).frames == 320


def test_small_days_join_their_neighbours_and_no_cell_is_under_the_minimum() -> None:
    held = Statistics(SUBJECT, 3 * FRAMES)
    days = ["2026-05-01"] * 1 + ["2026-05-02"] * 6 + ["2026-05-03"] * 3 + ["2026-05-04"] * 2
    for number, day in enumerate(days):
        held.add(minibatch(number), ("a", day))
    whole = held.coalesced()
    assert {day: t.minibatches for (_, day), t in whole.places.items()} == {"2026-05-02": 7, "2026-05-03": 5}
    assert whole.similarity() == held.similarity() and whole.overall == held.overall
    frames = [c.frames for c in (*whole.groups, *whole.periods)] + [t.frames for t in whole.places.values()]
    assert min(n for n in frames if n) >= 3 * FRAMES
    alone = Statistics(SUBJECT, 3 * FRAMES) + held
    alone.add(minibatch(99), ("b", "2026-05-01"))
    with pytest.raises(UsageError):
        alone.coalesced()


def test_the_jackknife_interval_covers_the_value_of_many_more_frames() -> None:
    truth = statistics(3, 400).similarity().unbiased_cka()
    covered = []
    for seed in range(20, 50):
        held = statistics(seed, 24)
        precision = held.precision()
        assert precision is not None
        covered.append(np.abs(held.similarity().unbiased_cka() - truth)[0, 1:] <= precision[0, 1:])
    assert np.mean(covered) >= 0.85
    assert statistics(4, GROUPS - 1).precision() is None


def test_the_interval_is_students_t_times_the_jackknife_error() -> None:
    """Against a jackknife that leaves each group's minibatches out and sums the others anew."""
    batches = [minibatch(500 + i) for i in range(2 * GROUPS + 3)]
    held = Statistics(SUBJECT, FRAMES)
    for batch in batches:
        held.add(batch, ("a", "d"))
    without = []
    for group in range(GROUPS):
        rest = [b.similarity for i, b in enumerate(batches) if i % GROUPS != group]
        without.append(functools.reduce(operator.add, rest).unbiased_cka(is_clipped=False))
    spread = np.array(without) - np.mean(without, axis=0)
    error = np.sqrt((GROUPS - 1) / GROUPS * (spread**2).sum(axis=0))
    precision = held.precision()
    assert precision is not None
    np.testing.assert_allclose(precision, t.ppf(0.975, GROUPS - 1) * error, rtol=2e-4, atol=1e-15)
    assert pytest.approx(t.ppf(0.975, GROUPS - 1), abs=5e-4) == STUDENT_T


def test_the_error_is_that_of_estimates_as_they_are_even_beyond_one() -> None:
    """A tap of samples whose product with itself comes out small: each CKA with it is about 1.4."""
    names = [tap.name for tap in SUBJECT.taps]
    held = Statistics(SUBJECT, FRAMES)
    parts = []
    for number in range(GROUPS):
        random = np.random.default_rng(number)
        x = random.standard_normal((len(names), FRAMES, 5)) / 9 + random.standard_normal((FRAMES, 5))
        grams: Float64Array = np.einsum("nij,nkj->nik", x, x)
        part = SimilaritySums(names)
        part.add_grams(grams, [0], np.stack([grams[0] / 2, grams[0]])[None])
        batch = minibatch(number)
        held.add(Minibatch(batch.overall, batch.local, part), ("a", "d"))
        parts.append(part)
    without = [
        functools.reduce(operator.add, parts[:i] + parts[i + 1 :]).unbiased_cka(is_clipped=False) for i in range(GROUPS)
    ]
    assert np.min(without, axis=0)[0, 1] > 1.2
    spread = np.array(without) - np.mean(without, axis=0)
    precision = held.precision()
    assert precision is not None
    expected = STUDENT_T * np.sqrt((GROUPS - 1) / GROUPS * (spread**2).sum(axis=0))
    np.testing.assert_allclose(precision, expected, rtol=1e-9, atol=1e-12)
    assert precision[0, 1] > 0


def test_history_ends_with_all_frames_and_settles() -> None:
    held = statistics(5, 60)
    history = held.history()
    assert history[-1] == held.similarity()
    frames = [h.frames for h in history]
    assert frames == sorted(frames) and frames[0] == FRAMES and frames[1] == 3 * FRAMES


def test_moments_and_ranges_are_those_of_the_values() -> None:
    batches = [np.random.default_rng(i) for i in range(3)]
    held = statistics(0, 3)
    values = []
    for random in batches:
        base = random.standard_normal((FRAMES, 48)).astype(np.float32)
        values.append(base + random.standard_normal((FRAMES, 48)).astype(np.float32))
    flat = np.concatenate(values).reshape(-1, 3).astype(np.float64)
    mean, variance = held.channel_moments("garment/relu1")
    np.testing.assert_allclose(mean, flat.mean(0), atol=1e-12)
    np.testing.assert_allclose(variance, flat.var(0), atol=1e-9)
    assert held.ranges()["garment/relu1"] == (flat.min(), flat.max())
    low, high = held.ranges(99.0)["garment/relu1"]
    assert flat.min() < low < high < flat.max()


def test_different_subjects_do_not_merge() -> None:
    other = Statistics(SUBJECT.__class__("1" * 64, SUBJECT.networks, SUBJECT.taps))
    with pytest.raises(UsageError, match="different networks"):
        statistics(1) + other


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_damage_is_always_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damage") / "a.mgstats"
    whole = _whole_file()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        position = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:position] + bytes([whole[position] ^ data.draw(st.integers(1, 255))]) + whole[position + 1 :]
    path.write_bytes(damaged)
    try:
        found = statistics_file.read(path)
    except MultigraftError:
        return
    # A flipped bit may lie in a field of the zip that carries nothing, such as a date.
    assert to_bytes(found) == whole


@functools.cache
def _whole_file() -> bytes:
    return to_bytes(statistics(6, 4))


def test_other_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for name, data in (("none", None), ("text", b"hello"), ("zip", b"PK\x05\x06" + b"\0" * 18)):
        path = Path(tmp_path / name)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError):
            statistics_file.read(path)
