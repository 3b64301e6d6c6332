"""Similarity sums: the estimator itself, independence, exact merging, persistence and bad input."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import InputError, UsageError
from multigraft.statistics.similarity import SimilaritySums, minibatches


def gaussian(frames: int, features: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((frames, features)).astype(np.float32)


def sums_of(*representations: npt.NDArray[np.generic], batch: int = 10**9) -> SimilaritySums:
    sums = SimilaritySums([f"t{i}" for i in range(len(representations))])
    for part in minibatches(len(representations[0]), batch):
        sums.add([r[part] for r in representations])
    return sums


def hsic_u_statistic(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """HSIC as the mean over ordered quadruples of distinct frames: the definition (Song et al. 2012, eq. 4)."""
    k, m = x @ x.T, y @ y.T
    quadruples = list(itertools.permutations(range(len(x)), 4))
    return float(np.mean([k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in quadruples]))


def test_unbiased_is_the_u_statistic_over_quadruples() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 3)) + 5, rng.standard_normal((7, 4))
    y[:, 0] += x[:, 1]
    expected = hsic_u_statistic(x, y) / np.sqrt(hsic_u_statistic(x, x) * hsic_u_statistic(y, y))
    assert sums_of(x, y).unbiased_cka()[0, 1] == pytest.approx(expected, abs=1e-12)


def test_biased_is_the_feature_space_formula() -> None:
    x, y = gaussian(50, 5, 1).astype(np.float64), gaussian(50, 8, 2).astype(np.float64)
    y[:, 2] += 3 * x[:, 0]
    xc, yc = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(xc.T @ yc) ** 2 / (np.linalg.norm(xc.T @ xc) * np.linalg.norm(yc.T @ yc))
    assert sums_of(x, y).biased_cka()[0, 1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("features", [256, 4096])
@pytest.mark.parametrize("batch", [64, 512])
def test_independent_gaussians_are_unlike_unbiased_and_alike_biased(features: int, batch: int) -> None:
    sums = sums_of(gaussian(512, features, 3), gaussian(512, features, 4), batch=batch)
    assert abs(sums.unbiased_cka()[0, 1]) < 0.05
    assert sums.biased_cka()[0, 1] > 0.3


def test_a_representation_is_like_itself_rotated_scaled_and_shifted() -> None:
    x = gaussian(64, 20, 5)
    rotation = np.linalg.qr(gaussian(20, 20, 6))[0]
    cka = sums_of(x, 100 * x @ rotation + 1000, batch=16)
    assert cka.unbiased_cka()[0, 1] == pytest.approx(1, abs=1e-4)
    assert cka.biased_cka()[0, 1] == pytest.approx(1, abs=1e-4)


def test_wide_float32_representations_agree_with_float64() -> None:
    x, y = gaussian(48, 20_000, 7) + 3, gaussian(48, 20_000, 8) - 2
    y += x / 2
    single = sums_of(x, y).unbiased_cka()
    double = sums_of(x.astype(np.float64), y.astype(np.float64)).unbiased_cka()
    np.testing.assert_allclose(single, double, atol=1e-5)


def test_a_constant_representation_is_like_nothing() -> None:
    cka = sums_of(gaussian(16, 4, 9), np.full((16, 3), 0.1, np.float32)).unbiased_cka()
    assert cka[0, 1] == 0 and cka[0, 0] == pytest.approx(1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.permutations(range(6)), st.integers(1, 5), st.integers(-12, 12))
def test_merging_in_any_order_and_grouping_changes_no_bit(seed: int, order: list[int], cut: int, exponent: int) -> None:
    parts = []
    for i in range(6):
        part = SimilaritySums(["a", "b", "c"])
        scale = 10.0 ** (exponent * (i - 2) / 2)
        part.add([scale * gaussian(4 + i, 5, seed % 1000 + 10 * i + t) for t in range(3)])
        parts.append(part)
    straight = parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5]
    shuffled = [parts[i] for i in order]
    left, right = shuffled[:cut], shuffled[cut:]
    grouped = sum(left[1:], left[0]).merge(sum(right[1:], right[0]))
    assert grouped == straight
    np.testing.assert_array_equal(grouped.unbiased_cka(), straight.unbiased_cka())
    assert grouped.frames == straight.frames == sum(range(4, 10))
    assert grouped.minibatches == 6


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.integers(1, 12), st.floats(-30, 15))
def test_cka_lies_within_its_range_at_any_magnitude(seed: int, frames: int, features: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    sums = sums_of(rng.standard_normal((frames, features)) * 10**power, rng.standard_normal((frames, 3)))
    for cka in (sums.unbiased_cka(), sums.biased_cka()):
        assert np.all(np.abs(cka) <= 1)
        np.testing.assert_allclose(np.diag(cka), 1, atol=1e-9)
        np.testing.assert_array_equal(cka, cka.T)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-140, 140))
def test_arrays_hold_the_sums_to_the_last_bit(power: float) -> None:
    scale = np.float64(10) ** (power / 2)
    sums = sums_of(scale * gaussian(9, 3, 1).astype(np.float64), gaussian(9, 4, 2))
    arrays = sums.to_arrays()
    assert SimilaritySums.from_arrays(arrays) == sums


def test_arrays_survive_an_npz_file_without_pickle(tmp_path: object) -> None:
    path = f"{tmp_path}/sums.npz"
    sums = sums_of(gaussian(20, 3, 1), gaussian(20, 4, 2), batch=5)
    np.savez(path, **sums.to_arrays())
    with np.load(path, allow_pickle=False) as stored:
        assert SimilaritySums.from_arrays(stored) == sums


def test_nothing_is_added_when_a_representation_is_not_finite() -> None:
    sums = sums_of(gaussian(8, 3, 1), gaussian(8, 3, 2))
    before = sums.to_arrays()
    broken = gaussian(8, 3, 3)
    broken[4, 1] = np.nan
    with pytest.raises(InputError, match="t1 holds NaN"):
        sums.add([gaussian(8, 3, 3), broken])
    assert SimilaritySums.from_arrays(before) == sums


def test_wrong_calls_are_refused_in_one_sentence() -> None:
    sums = SimilaritySums(["a", "b"])
    for bad in ([gaussian(8, 2, 0)], [gaussian(8, 2, 0), gaussian(7, 2, 0)], [gaussian(3, 2, 0)] * 2):
        with pytest.raises(UsageError):
            sums.add(bad)
    with pytest.raises(UsageError):
        sums.merge(SimilaritySums(["a", "c"]))
    with pytest.raises(UsageError):
        SimilaritySums(["a", "a"])
    with pytest.raises(UsageError):
        minibatches(3, 4)


@pytest.mark.parametrize("name", ["taps", "counts", "unbiased", "biased"])
def test_damaged_arrays_are_refused(name: str) -> None:
    arrays = sums_of(gaussian(8, 3, 1), gaussian(8, 3, 2)).to_arrays()
    for damage in (None, np.zeros(3), np.zeros((3, 288))):
        damaged = {k: v for k, v in arrays.items() if k != name} | ({} if damage is None else {name: damage})
        with pytest.raises(InputError):
            SimilaritySums.from_arrays(damaged)


@settings(derandomize=True)
@given(st.integers(4, 5000), st.integers(1, 600))
def test_minibatches_cover_every_frame_once_and_none_is_too_small(frames: int, batch: int) -> None:
    parts = minibatches(frames, batch)
    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(frames))
    sizes = [p.stop - p.start for p in parts]
    assert min(sizes) >= 4 and max(sizes) - min(sizes) <= 1 and (max(sizes) <= batch or batch < 8)


def test_products_of_samples_average_to_that_of_all_features() -> None:
    random = np.random.default_rng(5)
    n, groups = 6, 3
    parts, other = random.normal(size=(groups, n, 4)), random.normal(size=(n, 5))
    exact = SimilaritySums(["sampled", "whole"])
    exact.add([np.concatenate(parts, axis=1), other])
    averaged = SimilaritySums(["sampled", "whole"])
    estimates = [groups * (part @ part.T) for part in parts]
    for first, second in itertools.product(estimates, repeat=2):
        grams = np.stack([(first + second) / 2, other @ other.T])
        averaged.add_grams(grams, [0], np.stack([[first, second]]))
    np.testing.assert_allclose(averaged.unbiased_cka(), exact.unbiased_cka(), atol=1e-12)
    np.testing.assert_allclose(averaged.biased_cka(), exact.biased_cka(), atol=1e-12)


def test_a_part_taken_off_leaves_the_rest_exactly() -> None:
    random = np.random.default_rng(6)
    parts = [SimilaritySums(["a", "b"]) for _ in range(2)]
    for part in parts:
        part.add(random.normal(size=(2, 8, 3)))
    assert parts[0] + parts[1] - parts[1] == parts[0]


def hsic_1(k: npt.NDArray[np.float64], m: npt.NDArray[np.float64]) -> float:
    """The unbiased estimator of Song et al. (2012), eq. 5, as it is printed."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


def hsic_0(k: npt.NDArray[np.float64], m: npt.NDArray[np.float64]) -> float:
    """The biased estimator of Gretton et al. (2005)."""
    n = len(k)
    h = np.eye(n) - 1 / n
    return float(np.trace(k @ h @ m @ h) / (n - 1) ** 2)


def stored(sums: SimilaritySums, name: str) -> list[float]:
    """The sums as a file holds them."""
    return [int.from_bytes(row.tobytes(), "little", signed=True) / 2**1126 for row in sums.to_arrays()[name]]


@pytest.mark.parametrize("sizes", [(4, 11), (5, 4, 30), (7,)])
def test_minibatches_of_unequal_size_are_weighted_by_their_frames(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(sum(sizes))
    sums = SimilaritySums(["a", "b"])
    totals = {"unbiased": np.zeros((2, 2)), "biased": np.zeros((2, 2))}
    for n in sizes:
        # A dependence that differs from minibatch to minibatch: a wrong weight of one of them shows.
        x = random.standard_normal((n, 3)) * n
        y = random.standard_normal((n, 4)) + (x[:, :1] if n % 2 else 0)
        sums.add([x, y])
        grams = [x @ x.T, y @ y.T]
        for name, estimator in (("unbiased", hsic_1), ("biased", hsic_0)):
            totals[name] += n * np.array([[estimator(k, m) for m in grams] for k in grams])
    for name, found in (("unbiased", sums.unbiased_cka(is_clipped=False)), ("biased", sums.biased_cka())):
        norm = np.sqrt(np.diag(totals[name]))
        np.testing.assert_allclose(found, totals[name] / np.outer(norm, norm), rtol=1e-10, err_msg=name)
        np.testing.assert_allclose(stored(sums, name), totals[name][np.triu_indices(2)], rtol=1e-10, err_msg=name)


def test_four_frames_by_hand() -> None:
    """All steps can be followed on paper.

    With x = (2, 1, 0, 0): K0 = [[0, 2, 0, 0], [2, 0, 0, 0], 0, 0], its row sums are (2, 2, 0, 0), their sum is 4. So
    <U(K), U(K)> = 8 - 2/2 * 8 + 16/6 = 8/3, and n (n - 3) HSIC_1 = 8/3 with n = 4; times n / (n (n - 3)) that is 8/3.
    Centred, x is (5, 1, -3, -3) / 4, whose squares add up to 11/4: <HKH, HKH> = 121/16, times 4 / 9 that is 121/36.
    """
    sums = SimilaritySums(["x"])
    sums.add_grams(np.outer([2.0, 1, 0, 0], [2.0, 1, 0, 0])[None])
    assert stored(sums, "unbiased") == pytest.approx([8 / 3], rel=1e-15)
    assert stored(sums, "biased") == pytest.approx([121 / 36], rel=1e-15)
    assert sums.to_arrays()["counts"].tolist() == [4, 1]
