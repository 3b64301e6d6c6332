"""Tallies: what each kind of array does when added and merged, what is refused, and how they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.statistics import entries
from multigraft.statistics.tally import Tally, Terms

Array = npt.NDArray[Any]


def terms(seed: int = 0, frames: int = 4) -> Terms:
    random = np.random.default_rng(seed)
    return Terms(
        frames,
        sums={"s": random.normal(size=3)},
        counts={"c": random.integers(0, 9, 5)},
        lows={"l": random.normal(size=2)},
        highs={"l": random.normal(size=2), "h": np.array(random.normal(), np.float64)},
    )


def of(*parts: Terms) -> Tally:
    tally = Tally()
    for part in parts:
        tally.add(part)
    return tally


def sentence(error: type[MultigraftError], call: Any, *arguments: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_each_kind_is_joined_in_its_own_way() -> None:
    a, b = terms(1, 4), terms(2, 6)
    both = of(a, b)
    assert (both.frames, both.minibatches) == (10, 2)
    np.testing.assert_allclose(both.sums["s"].values(), a.sums["s"] + b.sums["s"], rtol=1e-15)
    np.testing.assert_allclose(both.mean("s"), (a.sums["s"] + b.sums["s"]) / 10, rtol=1e-15)
    np.testing.assert_array_equal(both.counts["c"], a.counts["c"] + b.counts["c"])
    np.testing.assert_array_equal(both.lows["l"], np.minimum(a.lows["l"], b.lows["l"]))
    np.testing.assert_array_equal(both.highs["l"], np.maximum(a.highs["l"], b.highs["l"]))
    assert both.highs["h"] == max(a.highs["h"], b.highs["h"])
    merged = of(a).merge(of(b))
    assert merged == both and (merged.frames, merged.minibatches) == (10, 2)


def test_an_array_that_only_one_side_has_is_kept() -> None:
    few, more = Terms(2), terms(3)
    for both in (of(few, more), of(more, few), of(few).merge(of(more)), of(more).merge(of(few))):
        alone = of(more)
        alone.frames, alone.minibatches = 6, 2
        assert both == alone
    assert Terms() == Terms(0, {}, {}, {}, {})


def test_merging_and_adding_change_nothing_that_is_shared() -> None:
    given = terms(4)
    first, second = of(given), of(terms(5))
    before = first.to_arrays()
    before = {name: array.copy() for name, array in before.items()}
    counts = given.counts["c"].copy()
    merged = first.merge(second)
    merged.add(terms(6))
    empty = Tally().merge(first)
    empty.add(terms(7))
    first.merge(Tally()).counts["c"][:] = 77
    for name, array in first.to_arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    first.add(terms(8))
    np.testing.assert_array_equal(given.counts["c"], counts)


def test_counts_are_int64_whatever_is_given() -> None:
    tally = of(
        Terms(1, counts={"c": np.array([200, 1], np.uint8)}), Terms(1, counts={"c": np.array([100, 2], np.uint8)})
    )
    assert tally.counts["c"].dtype == np.int64 and tally.counts["c"].tolist() == [300, 3]


def test_the_mean_of_no_frames_is_no_division_by_zero() -> None:
    assert of(Terms(0, {"s": np.zeros(2)})).mean("s").tolist() == [0, 0]
    assert of(Terms(1, {"s": np.ones(2)})).mean("s").tolist() == [1, 1]


def test_a_single_count_has_a_default() -> None:
    tally = of(Terms(5, counts={"n": np.array(7, np.int64)}))
    assert (tally.count_of("n"), tally.count_of("n", 3), tally.count_of("m"), tally.count_of("m", 3)) == (7, 7, 0, 3)
    assert type(tally.count_of("n")) is int


@pytest.mark.parametrize("kind", ["sums", "counts", "lows", "highs"])
def test_another_shape_is_refused_by_name_and_nothing_is_added(kind: str) -> None:
    tally = of(Terms(2, {"a": np.zeros(3)}, {"a": np.zeros(3, int)}, {"a": np.zeros(3)}, {"a": np.zeros(3)}))
    before = tally.merge(Tally())
    other = Terms(2, **{kind: {"b": np.zeros(1, int), "a": np.zeros((1, 3), int)}})
    said = sentence(UsageError, tally.add, other)
    assert said == "a has two shapes; merge runs of the same networks."
    assert tally == before
    with pytest.raises(UsageError):
        tally.merge(of(other))
    if kind != "sums":
        assert sentence(UsageError, tally.merge, of(other)) == said


def test_a_term_out_of_range_adds_nothing() -> None:
    tally = of(terms(9))
    before = tally.merge(Tally())
    broken = terms(10)
    broken.sums["s"][1] = np.inf
    assert "infinite, NaN" in sentence(InputError, tally.add, broken)
    assert tally == before


def test_tallies_are_equal_if_everything_is() -> None:
    whole = of(terms(11))
    assert whole == of(terms(11)) and whole != "tally" and whole != of(terms(12))
    for kind, value in (("frames", 9), ("minibatches", 9), ("sums", {}), ("counts", {}), ("lows", {}), ("highs", {})):
        changed = of(terms(11))
        setattr(changed, kind, value)
        assert changed != whole and whole != changed, kind
    for kind in ("counts", "lows", "highs"):
        changed = of(terms(11))
        name = next(iter(getattr(changed, kind)))
        getattr(changed, kind)[name] = getattr(changed, kind)[name] + 1
        assert changed != whole, kind


def test_it_comes_back_from_its_arrays() -> None:
    whole = of(terms(13), terms(14, 3))
    arrays = whole.to_arrays()
    assert set(arrays) == {"size", "sum/s", "count/c", "low/l", "high/l", "high/h"}
    assert arrays["size"].tolist() == [7, 2] and arrays["size"].dtype == np.int64
    back = Tally.from_arrays(arrays)
    assert back == whole and type(back.frames) is int
    nested = of(Terms(1, {"channel/net/relu": np.ones(2)}))
    assert Tally.from_arrays(nested.to_arrays()).sums.keys() == {"channel/net/relu"}
    assert Tally.from_arrays(Tally().to_arrays()) == Tally()


@pytest.mark.parametrize(
    "size",
    [
        None,
        np.zeros(3, np.int64),
        np.zeros(2),
        np.zeros(2, np.int32),
        np.array([1, -1], np.int64),
        np.array([-1, 1], np.int64),
    ],
)
def test_a_wrong_number_of_frames_is_refused(size: Array | None) -> None:
    arrays = of(terms()).to_arrays()
    del arrays["size"]
    said = sentence(InputError, Tally.from_arrays, arrays if size is None else arrays | {"size": size})
    assert said == "the statistics lack their number of frames; collect them again."


@pytest.mark.parametrize(
    ("key", "array", "said"),
    [
        ("sum/s", np.zeros((2, 3)), "exact sums are stored as float64 (2, 3)"),
        ("count/c", np.zeros(3), "the statistics hold count/c as float64"),
        ("count/c", np.zeros(3, np.int32), "the statistics hold count/c as int32"),
        ("low/l", np.zeros(3, np.float32), "the statistics hold low/l as float32"),
        ("high/l", np.zeros(3, np.int64), "the statistics hold high/l as int64"),
        ("middle/l", np.zeros(3), "the statistics hold middle/l as float64"),
        ("size/l", np.zeros(3, np.int64), "the statistics hold size/l as int64"),
    ],
)
def test_arrays_of_another_kind_are_refused(key: str, array: Array, said: str) -> None:
    assert (
        sentence(InputError, Tally.from_arrays, of(terms()).to_arrays() | {key: array})
        == f"{said}; collect them again."
    )


def test_arrays_have_the_names_that_files_of_earlier_versions_hold() -> None:
    assert [
        entries.channel_sums("t"), entries.channel_squares("t"), entries.value_counts("t"), entries.margins("n"),
        entries.entropies("n"), entries.drift_means("g"), entries.drift_products("g"), entries.cross_rows("t"),
        entries.first_moments("t"), entries.second_moments("t"), entries.cross_moments("a", "b"),
    ] == [
        "channel/t", "square/t", "values/t", "margin/n", "entropy/n", "drift/g", "drift2/g", "rows/t", "first/t",
        "second/t", "cross/a|b",
    ]  # fmt: skip
    assert (entries.DETAILED, entries.INNER, entries.CROSSED) == ("detailed", "inner", "crossed")
    assert (entries.BRIGHTNESS, entries.SHARPNESS) == ("brightness", "sharpness")


def test_what_is_of_the_crossed_frames_only_is_known_by_its_name() -> None:
    sums = [entries.first_moments("t"), entries.second_moments("t"), entries.cross_moments("a", "b")]
    assert all(map(entries.is_cross_sum, sums))
    assert not any(map(entries.is_cross_sum, ["channel/t", "square/t", "drift/g", entries.cross_rows("t")]))
    assert entries.is_cross_count(entries.CROSSED) and entries.is_cross_count(entries.cross_rows("t"))
    assert not any(map(entries.is_cross_count, ["crossed/x", entries.INNER, entries.DETAILED, "values/t"]))
