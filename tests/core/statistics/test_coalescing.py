"""No number of a file sums over fewer frames than the minimum, and no frame is lost in bringing that about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import MultigraftError, UsageError
from multigraft.statistics import entries
from multigraft.statistics.coalescing import coalesced_days, coalesced_groups, coalesced_periods, without_thin_sums
from multigraft.statistics.minimum_frames import MINIMUM_FRAMES
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import GROUPS, Minibatch, Statistics, combine
from multigraft.statistics.tally import Tally, Terms
from multigraft.statistics.value_histogram import count
from tests.calibration.samples import FRAMES, SUBJECT, minibatch, statistics


def day(frames: int) -> Tally:
    tally = Tally()
    tally.add(Terms(frames, counts={"n": np.array(frames, np.int64)}))
    return tally


def sums(frames: int) -> SimilaritySums:
    made = SimilaritySums(["t"])
    made.frames = frames
    return made


def frames_of(parts: Sequence[SimilaritySums]) -> list[int]:
    return [part.frames for part in parts]


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        ([10, 10], {"d0": 10, "d1": 10}),
        ([9, 10, 10], {"d1": 19, "d2": 10}),
        ([9, 1, 10], {"d1": 10, "d2": 10}),
        ([4, 4, 4, 10], {"d2": 12, "d3": 10}),
        ([10, 9], {"d0": 19}),
        ([10, 10, 4, 5], {"d0": 10, "d1": 19}),
        ([3, 3], {"d1": 6}),
        ([3], {"d0": 3}),
        ([], {}),
    ],
)
def test_a_day_of_few_frames_joins_the_next_and_the_last_the_one_before(
    frames: list[int], kept: dict[str, int]
) -> None:
    days = {f"d{i}": day(n) for i, n in reversed(list(enumerate(frames)))}
    found = coalesced_days(days, 10)
    assert {name: tally.frames for name, tally in found.items()} == kept
    assert {name: tally.count_of("n") for name, tally in found.items()} == kept
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        ([10] * 8, [10] * 8),
        ([9, *[10] * 7], [19, 20, 20, 20]),
        ([*[10] * 7, 9], [20, 20, 20, 19]),
        ([1] * 8, [8]),
        ([3, 3, 3, 3, 3, 3, 3, 3], [12, 12]),
        ([10, 0, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0]),
        ([1, 0, 0, 0, 0, 0, 0, 0], [1]),
        ([0] * 8, [0] * 8),
        ([1, 2, 4, 8, 16, 32, 64, 128], [17, 34, 68, 136]),
    ],
)
def test_groups_are_merged_by_halves(frames: list[int], kept: list[int]) -> None:
    groups = [sums(n) for n in frames]
    assert frames_of(coalesced_groups(groups, 10)) == kept
    assert frames_of(groups) == frames


@pytest.mark.parametrize(
    ("frames", "kept"),
    [([10, 9], [19]), ([10, 10], [10, 10]), ([10, 20, 4, 5], [10, 29]), ([9], [9]), ([], []), ([4, 5, 3], [12])],
)
def test_the_last_periods_join_the_one_before(frames: list[int], kept: list[int]) -> None:
    periods = [sums(n) for n in frames]
    assert frames_of(coalesced_periods(periods, 10)) == kept
    assert frames_of(periods) == frames


def thin(crossed: int | None, inner: int | None) -> Tally:
    tally = Tally()
    one = np.ones(2)
    counts = {entries.cross_rows("t"): np.array(99, np.int64), "values/t": np.array([1, 2], np.int64)}
    counts |= {} if crossed is None else {entries.CROSSED: np.array(crossed, np.int64)}
    counts |= {} if inner is None else {entries.INNER: np.array(inner, np.int64)}
    names = (entries.first_moments("t"), entries.second_moments("t"), entries.cross_moments("t", "u"), "channel/t")
    tally.add(Terms(100, dict.fromkeys(names, one), counts, {"t": one, "in": one}, {"t": one, "in": one}))
    return tally


@pytest.mark.parametrize(("crossed", "is_kept"), [(9, False), (1, False), (10, True), (0, True), (None, True)])
def test_products_of_few_frames_are_left_out(crossed: int | None, is_kept: bool) -> None:
    whole = thin(crossed, 10)
    kept = without_thin_sums(whole, {"t"}, 10)
    assert ("first/t" in kept.sums, "second/t" in kept.sums, "cross/t|u" in kept.sums) == (is_kept,) * 3
    assert "channel/t" in kept.sums and "values/t" in kept.counts and kept.frames == 100
    assert (entries.cross_rows("t") in kept.counts) == is_kept
    assert (entries.CROSSED in kept.counts) == (is_kept and crossed is not None)
    assert entries.INNER in kept.counts and kept.lows.keys() == kept.highs.keys() == {"t", "in"}
    assert whole == thin(crossed, 10)


@pytest.mark.parametrize(("inner", "is_kept"), [(9, False), (1, False), (10, True), (0, True), (None, True)])
def test_ranges_of_few_frames_are_left_out(inner: int | None, is_kept: bool) -> None:
    kept = without_thin_sums(thin(10, inner), {"t"}, 10)
    assert kept.lows.keys() == kept.highs.keys() == ({"t", "in"} if is_kept else {"t"})
    assert (entries.INNER in kept.counts) == (is_kept and inner is not None)
    assert "first/t" in kept.sums and entries.CROSSED in kept.counts


def of(frames: int, count: int = 1, minimum: int = FRAMES) -> Statistics:
    made = Statistics(SUBJECT, minimum)
    for number in range(count):
        made.add(minibatch(number, frames), ("a", "2026-05-01"))
    return made


def sentence(error: type[MultigraftError], call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_minimum_that_hides_nothing_is_refused() -> None:
    assert sentence(UsageError, Statistics, SUBJECT, 1) == "a minimum of 1 frames; give 2 or more."
    assert Statistics(SUBJECT, 2).minimum_frames == 2
    assert Statistics(SUBJECT).minimum_frames == MINIMUM_FRAMES == 32


def test_exactly_the_minimum_is_enough() -> None:
    whole = of(8, 1, 8).coalesced()
    assert whole.frames == 8 and frames_of(whole.groups) == [8] + [0] * 7
    said = sentence(UsageError, of(8, 1, 9).coalesced)
    assert said == "the statistics hold sums over 8 frames, fewer than the minimum of 9; collect more frames."


@pytest.mark.parametrize("part", ["detailed", "place", "group", "period"])
def test_one_cell_under_the_minimum_is_found_wherever_it_is(part: str) -> None:
    whole = of(8, 8, 8)
    whole.check_privacy()
    if part == "detailed":
        whole.overall.counts[entries.DETAILED] = np.array(5, np.int64)
    elif part == "place":
        whole.places["z", "2026-05-01"] = day(5)
    else:
        parts = whole.groups if part == "group" else whole.periods
        parts[-1] = sums(5)
    said = sentence(UsageError, whole.check_privacy)
    assert said == "the statistics hold sums over 5 frames, fewer than the minimum of 8; collect more frames."


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), min_size=1, max_size=20), st.integers(4, 20))
def test_coalescing_keeps_every_frame_and_hides_every_small_cell(days: list[tuple[str, int]], minimum: int) -> None:
    whole = Statistics(SUBJECT, minimum)
    for number, (site, date) in enumerate(days):
        whole.add(minibatch(number, 4), (site, f"2026-05-0{date}"))
    by_site = {site: 4 * sum(s == site for s, _ in days) for site, _ in days}
    if min(by_site.values()) < minimum:
        with pytest.raises(UsageError):
            whole.coalesced()
        return
    found = whole.coalesced()
    assert found.overall == whole.overall and found.similarity() == whole.similarity()
    assert found.history()[-1] == whole.similarity() and len(found.groups) == GROUPS
    assert found.minimum_frames == minimum and found.subject == SUBJECT
    for site, frames in by_site.items():
        assert sum(t.frames for (s, _), t in found.places.items() if s == site) == frames
    assert set(found.places) <= set(whole.places)
    assert found.coalesced() == found


def test_minibatches_are_dealt_out_over_groups_and_periods() -> None:
    whole = of(8, 11, 16)
    assert [g.minibatches for g in whole.groups] == [2, 2, 2, 1, 1, 1, 1, 1]
    # Periods start after 0, 16, 48 and 112 frames: 2, 4, 8 minibatches.
    assert [p.minibatches for p in whole.periods] == [2, 4, 5]
    assert [h.minibatches for h in whole.history()] == [2, 6, 11]
    jump = Statistics(SUBJECT, 4)
    jump.add(minibatch(0, 20), ("a", "d"))
    jump.add(minibatch(1, 20), ("a", "d"))
    assert [p.minibatches for p in jump.periods] == [1, 0, 1]


def test_merging_takes_the_lower_minimum_and_the_longer_history() -> None:
    short, long = of(8, 2, 8), of(8, 9, 16)
    for both in (short + long, long + short):
        assert both.minimum_frames == 8 and both.frames == 88
        assert [p.minibatches for p in both.periods] == [1 + 2, 1 + 4, 3]
        assert both.places["a", "2026-05-01"].frames == 88
    assert short != long and short == of(8, 2, 8) and short != "statistics"
    assert combine([short]) == short and combine(iter([short, long])) == short + long


def test_merging_keeps_the_places_of_both() -> None:
    first, second = Statistics(SUBJECT, 8), Statistics(SUBJECT, 8)
    first.add(minibatch(1, 8), ("a", "2026-05-01"))
    first.add(minibatch(2, 8), ("both", "2026-05-01"))
    second.add(minibatch(3, 8), ("both", "2026-05-01"))
    second.add(minibatch(4, 8), ("b", "2026-05-02"))
    for whole in (first + second, second + first):
        frames = {place: tally.frames for place, tally in whole.places.items()}
        assert frames == {("a", "2026-05-01"): 8, ("both", "2026-05-01"): 16, ("b", "2026-05-02"): 8}
        assert whole.places["a", "2026-05-01"] == first.places["a", "2026-05-01"]


def test_ranges_of_taps_inputs_and_outputs_are_of_all_frames_and_stay() -> None:
    whole = of(8, 2)
    names = ["garment/relu1", "digit/image", "garment/logits", "garment/between"]
    for name in names:
        whole.overall.lows[name] = whole.overall.highs[name] = np.array(1.0)
    for frames, kept in ((7, set(names[:3])), (8, set(names))):
        whole.overall.counts[entries.INNER] = np.array(frames)
        found = whole.coalesced().overall
        assert found.lows.keys() & set(names) == found.highs.keys() & set(names) == kept


def test_statistics_are_equal_if_everything_is() -> None:
    whole = of(8, 3)
    for name, value in (
        ("subject", SUBJECT.__class__("1" * 64, SUBJECT.networks, SUBJECT.taps)), ("minimum_frames", 9),
        ("overall", Tally()), ("places", {}), ("groups", []), ("periods", []),
    ):  # fmt: skip
        changed = of(8, 3)
        setattr(changed, name, value)
        assert changed != whole, name


def test_a_minibatch_that_is_refused_changes_nothing() -> None:
    whole = of(8, 2)
    good = minibatch(5)
    broken = Terms(8, {**good.overall.sums, "channel/garment/relu1": np.full(3, np.inf)})
    other = SimilaritySums(["x"])
    for bad in (Minibatch(broken, good.local, good.similarity), Minibatch(good.overall, good.local, other)):
        with pytest.raises(MultigraftError):
            whole.add(bad, ("a", "2026-05-01"))
        assert whole == of(8, 2)


def test_the_other_sentences() -> None:
    assert sentence(UsageError, combine, []) == "there are no statistics to combine; name at least one file."
    other = Statistics(SUBJECT.__class__("1" * 64, SUBJECT.networks, SUBJECT.taps))
    assert sentence(UsageError, of(8).merge, other) == (
        "statistics of different networks or settings cannot be merged; merge runs of the same taps bundle."
    )
    assert sentence(UsageError, of(8).channel_moments, "x") == "the statistics hold no tap 'x'; name a cut point."


def test_moments_are_over_the_detailed_frames_and_their_positions() -> None:
    whole = of(8, 2)
    mean, variance = whole.channel_moments("digit/relu1")
    total = whole.overall.sums["channel/digit/relu1"].values()
    square = whole.overall.sums["square/digit/relu1"].values()
    np.testing.assert_allclose(mean, total / (16 * 16), rtol=1e-15)
    np.testing.assert_allclose(variance, square / (16 * 16) - mean**2, rtol=1e-12)
    whole.overall.counts[entries.DETAILED] = np.array(8, np.int64)
    assert whole.detailed_frames == 8
    halved, _ = whole.channel_moments("digit/relu1")
    np.testing.assert_allclose(halved, 2 * mean, rtol=1e-15)
    whole.overall.counts[entries.DETAILED] = np.array(0, np.int64)
    np.testing.assert_allclose(whole.channel_moments("digit/relu1")[0], total, rtol=1e-15)
    constant = Statistics(SUBJECT, 8)
    flat = {f"{kind}/digit/relu1": np.full(3, value) for kind, value in (("channel", 12.8), ("square", 1.27999))}
    constant.overall.add(Terms(8, flat))
    np.testing.assert_array_equal(constant.channel_moments("digit/relu1")[1], np.zeros(3))


def test_ranges_are_cut_by_percent_where_values_were_counted() -> None:
    whole = Statistics(SUBJECT, 8)
    values = np.array([-100.0, *np.linspace(1, 2, 98), 100.0], np.float32)
    for name in ("t", "u", "v"):
        whole.overall.lows[name], whole.overall.highs[name] = np.array(-100, np.float64), np.array(100, np.float64)
    whole.overall.counts["values/t"] = count(values)
    whole.overall.lows["v"], whole.overall.highs["v"] = np.array(1.9, np.float64), np.array(1.95, np.float64)
    whole.overall.counts["values/v"] = count(values)
    assert whole.ranges() == {"t": (-100, 100), "u": (-100, 100), "v": (1.9, 1.95)}
    cut = whole.ranges(96.0)
    assert cut["t"] == pytest.approx((1, 2), rel=1 / 64) and cut["u"] == (-100, 100)
    assert cut["v"] == (1.9, 1.95)
    assert whole.ranges(99.9)["t"] == (-100, 100)
    assert {type(v) for pair in cut.values() for v in pair} == {float}


def test_what_is_cut_off_is_cut_half_at_either_end() -> None:
    whole = Statistics(SUBJECT, 8)
    values = 1.1 ** np.arange(100, dtype=np.float32)
    whole.overall.lows["t"], whole.overall.highs["t"] = (
        np.array(values[0], np.float64),
        np.array(values[-1], np.float64),
    )
    whole.overall.counts["values/t"] = count(values)
    for percent, places in ((90.0, (4, 94)), (80.0, (9, 89)), (50.0, (24, 74))):
        expected = [values[place] for place in places]
        assert whole.ranges(percent)["t"] == pytest.approx(expected, rel=1 / 63)


def test_products_of_two_taps_are_found_in_either_order() -> None:
    whole = Statistics(SUBJECT, 8)
    first, between = np.array([[1.0, 2], [2, 5]]), np.array([[1.0, 2, 3], [4, 5, 6]])
    counts = {
        entries.CROSSED: np.array(6, np.int64),
        entries.INNER: np.array(5, np.int64),
        "rows/a": np.array(42, np.int64),
    }
    whole.overall.add(Terms(8, {"second/a": first, "cross/a|b": between}, counts))
    for pair, expected in ((("a", "a"), first), (("a", "b"), between), (("b", "a"), between.T)):
        found = whole.cross_moments(*pair)
        assert found is not None
        np.testing.assert_array_equal(found, expected)
    assert whole.cross_moments("b", "b") is None and whole.cross_moments("b", "c") is None
    assert (whole.crossed_frames, whole.inner_frames) == (6, 5)
    assert (whole.cross_rows("a"), whole.cross_rows("b")) == (42, 0)


def test_precision_needs_a_minibatch_in_every_group() -> None:
    assert of(8, GROUPS - 1).precision() is None
    found = of(8, GROUPS).precision()
    assert found is not None and found.shape == (4, 4) and np.all(found[0, 1:] > 0)
    assert statistics(0, 0).sites == () and of(8).sites == ("a",)
