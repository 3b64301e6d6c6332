"""Similarity sums at their ends: what is refused and how, clipping, sampled taps, storage, rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.statistics.similarity import (
    FEATURE_BLOCK,
    MIN_BATCH,
    SimilaritySums,
    centred_gram,
    minibatches,
    working_bytes,
)

Real = npt.NDArray[np.float64]
pytestmark = pytest.mark.filterwarnings("error")
SAME = "give the same 4 or more frames to every tap"


def random(*shape: int, seed: int = 0) -> Real:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def gram(n: int = 6, seed: int = 0) -> Real:
    x = random(n, 3, seed=seed)
    product: Real = x @ x.T
    return product


def sentence(error: type[MultigraftError], call: Any, *arguments: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("taps", [[], ["a", "a"]])
def test_taps_have_to_be_told_apart(taps: list[str]) -> None:
    said = sentence(UsageError, SimilaritySums, taps)
    assert said == "similarity needs at least one tap, and each name once; name the taps apart."


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([8, 7], f"a minibatch of 7 frames cannot be compared with one of 8; {SAME}"),
        ([3, 3], f"a minibatch of 3 frames cannot be compared with one of 3; {SAME}"),
        ([], "0 representations were given for 2 taps; give one per tap"),
        ([8], "1 representations were given for 2 taps; give one per tap"),
        ([8, 8, 8], "3 representations were given for 2 taps; give one per tap"),
    ],
)
def test_a_minibatch_that_does_not_fit_is_refused_and_adds_nothing(sizes: list[int], said: str) -> None:
    sums = SimilaritySums(["a", "b"])
    assert sentence(UsageError, sums.add, [random(n, 3) for n in sizes]) == f"{said}."
    assert sums == SimilaritySums(["a", "b"])


def test_representations_are_read_one_by_one_and_no_more_than_needed() -> None:
    read: list[int] = []

    def generated() -> Iterator[Real]:
        for number in range(9):
            read.append(number)
            yield random(4, 2, seed=number)

    said = sentence(UsageError, SimilaritySums(["a", "b"]).add, generated())
    assert said.startswith("3 representations") and read == [0, 1, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_a_representation_without_a_finite_product_is_named(value: float) -> None:
    sums = SimilaritySums(["a", "b"])
    broken = random(8, 3)
    broken[4, 1] = value
    said = sentence(InputError, sums.add, [random(8, 3), broken])
    assert said == "representation b holds NaN or infinity; check the network and its input."
    assert sums == SimilaritySums(["a", "b"])


@pytest.mark.parametrize("place", [(0, 0), (0, 1)])
def test_products_beyond_float64_are_refused(place: tuple[int, int]) -> None:
    """A great diagonal overflows the biased sums alone, a great pair of frames both."""
    large = gram(4)
    large[place] = large[place[::-1]] = 1e200
    sums = SimilaritySums(["a"])
    said = sentence(InputError, sums.add_grams, large[None])
    assert said == "representations are too large to compare in float64; scale them down."
    assert sums == SimilaritySums(["a"])


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (2, 3, 3), (2, 4, 5), (2, 5, 4)])
def test_gram_matrices_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    said = sentence(UsageError, SimilaritySums(["a", "b"]).add_grams, np.zeros(shape))
    assert said == f"Gram matrices of shape {shape} for 2 taps; give one per tap."


def test_runs_of_different_taps_are_refused() -> None:
    said = sentence(UsageError, SimilaritySums(["a"]).merge, SimilaritySums(["b"]))
    assert said == "similarity sums of different taps cannot be merged; merge runs of the same networks."
    assert SimilaritySums(["a"]) != SimilaritySums(["b"])
    assert SimilaritySums(["a"]) != "a"


def test_sums_are_equal_if_everything_is() -> None:
    whole, other = SimilaritySums(["a"]), SimilaritySums(["a"])
    whole.add_grams(gram()[None])
    other.add_grams(gram()[None])
    assert whole == other
    assert (whole + other).frames == 12 and (whole + other).minibatches == 2
    rest = whole + other - other
    assert rest == whole and (rest.frames, rest.minibatches) == (6, 1)
    for name in ("frames", "minibatches"):
        changed = whole.merge(SimilaritySums(["a"]))
        setattr(changed, name, 7)
        assert changed != whole
    for name in ("unbiased", "biased"):
        arrays = whole.to_arrays()
        arrays[name] = arrays[name].copy()
        arrays[name][0, 0] ^= 1
        assert SimilaritySums.from_arrays(arrays) != whole


def test_frames_and_minibatches_of_one_run_add_up() -> None:
    sums = SimilaritySums(["a"])
    for number, n in enumerate((6, 4, 9), 1):
        sums.add([random(n, 3, seed=n)])
        assert (sums.frames, sums.minibatches) == (sum((6, 4, 9)[:number]), number)


def sampled(first: Real, second: Real, others: Real) -> SimilaritySums:
    """Tap 0 is sampled: its product with itself is taken between two estimates, all else from their mean."""
    sums = SimilaritySums([f"t{i}" for i in range(1 + len(others))])
    sums.add_grams(np.concatenate([(first + second)[None] / 2, others]), [0], np.stack([first, second])[None])
    return sums


def test_an_estimate_outside_the_range_is_clipped_unless_errors_are_asked_for() -> None:
    k = gram()
    sums = SimilaritySums(["a", "same", "opposite"])
    sums.add_grams(np.stack([k, k.copy(), -k]), [0], np.stack([k / 2, k / 2])[None])
    raw, clipped = sums.unbiased_cka(is_clipped=False), sums.unbiased_cka()
    np.testing.assert_allclose(raw, [[1, 2, -2], [2, 1, -1], [-2, -1, 1]], rtol=1e-12)
    np.testing.assert_allclose(clipped, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], rtol=1e-12)
    np.testing.assert_allclose(sums.biased_cka(), clipped, rtol=1e-12)
    assert max(clipped.max(), -clipped.min()) <= 1


def test_a_sampled_tap_whose_product_with_itself_is_negative_by_chance_is_like_nothing() -> None:
    first, second = gram(seed=1), gram(seed=1)
    second = -0.5 * second
    cka = sampled(first, second, gram(seed=2)[None]).unbiased_cka()
    np.testing.assert_array_equal(cka[0], [0, 0])
    assert cka[1, 0] == 0 and cka[1, 1] == pytest.approx(1)


def test_estimates_count_only_where_they_are_given() -> None:
    plain, named, given = (SimilaritySums(["a", "b"]) for _ in range(3))
    plain.add_grams(np.stack([gram(seed=3), gram(seed=4)]))
    named.add_grams(np.stack([gram(seed=3), gram(seed=4)]), [1])
    given.add_grams(np.stack([gram(seed=3), gram(seed=4)]), [1], np.stack([gram(seed=4), gram(seed=5)])[None])
    assert plain == named != given


def test_of_one_sampled_tap_only_its_own_product_changes() -> None:
    plain, given = SimilaritySums(["a", "b"]), SimilaritySums(["a", "b"])
    grams = np.stack([gram(seed=3), gram(seed=4)])
    plain.add_grams(grams.copy())
    given.add_grams(grams.copy(), [1], np.stack([gram(seed=5), gram(seed=6)])[None])
    for name in ("unbiased", "biased"):
        is_same = (plain.to_arrays()[name] == given.to_arrays()[name]).all(axis=1)
        assert is_same.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("taps", np.zeros((0,), np.str_)),
        ("taps", np.array([["a"], ["b"]])),
        ("taps", np.array([b"a", b"b"])),
        ("taps", np.array(["a", "b", "c"])),
        ("taps", np.array("a")),
        ("counts", np.zeros(3, np.int64)),
        ("counts", np.zeros((), np.int64)),
        ("counts", np.zeros(2, np.float64)),
        ("counts", np.zeros(2, np.uint64)),
        ("unbiased", np.zeros((3, 288), np.int8)),
        ("biased", np.zeros((3, 288), np.float64)),
        ("unbiased", np.zeros((2, 288), np.uint8)),
        ("biased", np.zeros((3, 287), np.uint8)),
        ("biased", np.zeros((3, 288, 1), np.uint8)),
    ],
)
def test_arrays_of_another_kind_are_refused(name: str, array: npt.NDArray[Any]) -> None:
    arrays = SimilaritySums(["a", "b"]).to_arrays()
    said = sentence(InputError, SimilaritySums.from_arrays, arrays | {name: array})
    assert said == "similarity sums have arrays of the wrong shape or type; collect them again."
    del arrays[name]
    said = sentence(InputError, SimilaritySums.from_arrays, arrays)
    assert said == f"similarity sums lack the array {name}; collect them again."


def test_taps_that_are_no_list_are_refused_whatever_the_sums_are() -> None:
    for taps, pairs in ((np.array([["a"]]), 1), (np.zeros((0,), np.str_), 0)):
        arrays = SimilaritySums(["a"]).to_arrays() | {"taps": taps}
        arrays |= {name: np.zeros((pairs, 288), np.uint8) for name in ("unbiased", "biased")}
        assert "wrong shape or type" in sentence(InputError, SimilaritySums.from_arrays, arrays)


def test_one_tap_is_stored_with_the_types_that_are_promised() -> None:
    sums = SimilaritySums(["ä/relu"])
    sums.add_grams(-gram()[None])
    arrays = sums.to_arrays()
    assert {k: (v.dtype.kind, v.dtype.itemsize) for k, v in arrays.items() if k != "taps"} == {
        "counts": ("i", 8),
        "unbiased": ("u", 1),
        "biased": ("u", 1),
    }
    assert arrays["taps"].dtype.kind == "U" and arrays["taps"].tolist() == ["ä/relu"]
    assert arrays["unbiased"].shape == (1, 288) and arrays["unbiased"].flags.writeable
    back = SimilaritySums.from_arrays(arrays)
    assert back == sums and isinstance(back.taps[0], str) and type(back.frames) is int


def test_a_negative_sum_survives_storage() -> None:
    sums = SimilaritySums(["a", "b"])
    sums.add_grams(np.stack([gram(), -gram()]))
    assert SimilaritySums.from_arrays(sums.to_arrays()).unbiased_cka()[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize("features", [3, FEATURE_BLOCK, FEATURE_BLOCK + 1, 2 * FEATURE_BLOCK + 3])
def test_a_centred_gram_matrix_is_that_of_the_centred_features(features: int) -> None:
    x = random(5, features) + np.linspace(-50, 80, features)
    centred = x - x.mean(axis=0)
    out = np.full((5, 5), np.nan)
    centred_gram(x, out)
    np.testing.assert_allclose(out, centred @ centred.T, rtol=1e-11, atol=1e-8)
    shaped = np.full((5, 5), np.nan)
    if features % 3 == 0:
        centred_gram(x.reshape(5, 3, -1), shaped)
        np.testing.assert_array_equal(shaped, out)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.uint8])
def test_all_but_float64_is_multiplied_in_float32_about_a_mean_taken_in_float64(kind: type[np.generic]) -> None:
    x = np.clip(random(37, 40) * 20 + 60, 0, 127).astype(kind)
    single = x.astype(np.float32)
    centred = single - single.mean(axis=0, dtype=np.float64).astype(np.float32)
    out = np.empty((37, 37))
    centred_gram(x, out)
    np.testing.assert_array_equal(out, (centred @ centred.T).astype(np.float64))


def test_working_memory_is_that_of_the_matrices_and_one_block() -> None:
    assert working_bytes(5, 64) == 5 * 64 * 64 * 8 + 3 * 64 * 64 * 8 + 64 * 8192 * 12
    assert FEATURE_BLOCK == 8192 and MIN_BATCH == 4


@pytest.mark.parametrize(
    ("frames", "batch", "sizes"),
    [
        (4, 4, [4]),
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),
        (10, 4, [5, 5]),
        (10, 9, [5, 5]),
        (10, 10, [10]),
        (7, 4, [7]),
        (12, 1, [4, 4, 4]),
        (100, 30, [25] * 4),
        (101, 50, [33, 34, 34]),
    ],
)
def test_minibatches_are_as_equal_as_they_can_be(frames: int, batch: int, sizes: list[int]) -> None:
    parts = minibatches(frames, batch)
    assert [p.stop - p.start for p in parts] == sizes
    assert [p.start for p in parts] == [sum(sizes[:i]) for i in range(len(sizes))]


def test_too_few_frames_are_refused() -> None:
    said = sentence(UsageError, minibatches, 3, 4)
    assert said == "3 frames are too few to compare representations; give 4 or more."
