"""What is sampled is what the networks computed: similarity, moments, ranges, exits, frame_quality."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.calibration.collect import frame_quality, uncertainty
from multigraft.calibration.collect.minibatch_record import from_bytes, to_bytes
from multigraft.calibration.collect.sampler import COMPARED, Sampler
from multigraft.calibration.collect.tap_sample import DETAIL_EVERY, plan_samples
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.errors import BundleError, InputError, UsageError
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.subject import Tap
from multigraft.tensors.arrays import Array
from tests.bundle_builder import build
from tests.calibration.networks import frames, taps_bundle
from tests.optional import some

BUNDLE = taps_bundle()


@pytest.fixture(scope="module")
def model() -> TapsRunner:
    return TapsRunner(BUNDLE)


def representations(model: TapsRunner, images: npt.NDArray[np.uint8]) -> dict[str, Array]:
    rows: dict[str, list[Array]] = {}
    for image in images:
        model.run(image)
        for name, array in model.arrays.items():
            rows.setdefault(name, []).append(array[0].copy())
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def collected(model: TapsRunner, images: npt.NDArray[np.uint8], minibatch: int = 16, **options: Any) -> Statistics:
    sampler = Sampler(model, minibatch, **options)
    statistics = Statistics(sampler.subject, 8)
    for image in images:
        if (part := sampler.add(image)) is not None:
            statistics.add(part, ("a", "2026-05-01"))
    if (part := sampler.flush()) is not None:
        statistics.add(part, ("a", "2026-05-01"))
    return statistics


def test_streamed_cka_is_that_of_the_representations(model: TapsRunner) -> None:
    images = frames(64)
    values = representations(model, images)
    expected = SimilaritySums([t.name for t in model.taps])
    for start in range(0, 64, 16):
        expected.add([values[t.name][start : start + 16].astype(np.float64) for t in model.taps])
    streamed = collected(model, images).similarity()
    np.testing.assert_allclose(streamed.unbiased_cka(), expected.unbiased_cka(), atol=1e-6)
    np.testing.assert_allclose(streamed.biased_cka(), expected.biased_cka(), atol=1e-6)


def test_streamed_cka_is_within_a_hundredth_of_the_full_batch(model: TapsRunner) -> None:
    images = frames(2048, seed=5)
    values = representations(model, images)
    full = SimilaritySums([t.name for t in model.taps])
    full.add([values[t.name] for t in model.taps])
    streamed = collected(model, images, 32).similarity()
    np.testing.assert_allclose(streamed.unbiased_cka(), full.unbiased_cka(), atol=0.01)


def test_ranges_and_moments_are_those_of_every_eighth_frame(model: TapsRunner) -> None:
    images = frames(64, seed=1)
    statistics = collected(model, images)
    values = {name: v[::DETAIL_EVERY] for name, v in representations(model, images).items()}
    for tap in statistics.subject.taps:
        rows = values[tap.name].reshape(-1, tap.shape[-1]).astype(np.float64)
        mean, variance = statistics.channel_moments(tap.name)
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(variance, rows.var(0), rtol=1e-3, atol=1e-6)
        assert statistics.ranges()[tap.name] == (rows.min(), rows.max())
    inputs = values["garment/image"]
    assert statistics.ranges()["garment/image"] == (inputs.min(), inputs.max())
    # Outputs are small: their ranges are of every frame.
    outputs = representations(model, images)["digit/logits"]
    assert statistics.ranges()["digit/logits"] == (outputs.min(), outputs.max())


@pytest.mark.parametrize("width", [4, 3])
def test_sampled_taps_give_about_the_same_cka_without_bias(width: int) -> None:
    """Of width 3, features are no multiple of 4, and are copied out one by one."""
    model = TapsRunner(taps_bundle(width=width))
    images = frames(1024, seed=2)
    whole = collected(model, images, 64)
    exact = whole.similarity().unbiased_cka()
    ckas = []
    for site in "abcdef":
        sampled = collected(model, images, 64, features=60, site=site)
        assert {t.sampled for t in sampled.subject.taps} == {60}
        ckas.append(sampled.similarity().unbiased_cka(is_clipped=False))
    assert np.abs(ckas[0] - ckas[1]).max() > 1e-3
    assert np.abs(ckas - exact).max() < 0.1
    assert np.abs(np.mean(ckas, axis=0) - exact).max() < 0.035
    for tap in model.taps:
        for a, b in zip(sampled.channel_moments(tap.name), whole.channel_moments(tap.name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert sampled.ranges() == whole.ranges()
    with pytest.raises(UsageError, match="different networks or settings"):
        sampled + whole


def test_the_jackknife_covers_what_sampling_adds(model: TapsRunner) -> None:
    images = frames(1024, seed=2)
    exact = collected(model, images, 64).similarity().unbiased_cka()
    distances = []
    for site in "abcdefgh":
        sampled = collected(model, images, 64, features=60, site=site)
        error = np.abs(sampled.similarity().unbiased_cka() - exact)
        distances.append((error / (some(sampled.precision()) + 1e-9))[np.triu_indices(len(error), 1)])
    assert np.mean(np.array(distances) < 1) > 0.9


def test_what_is_sampled_depends_on_site_and_number_alone(model: TapsRunner) -> None:
    images = frames(32, seed=3)
    again = Sampler(model, 16, features=24, site="a")
    again.number = 1
    expected = Sampler(model, 16, features=24, site="a")
    first = [part for image in images if (part := expected.add(image)) is not None]
    second = [part for image in images[16:] if (part := again.add(image)) is not None]
    assert to_bytes(first[1]) == to_bytes(second[0])


def test_where_taps_lie_in_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def collected_bytes() -> list[bytes]:
        sampler = Sampler(TapsRunner(BUNDLE), 16, features=24)
        return [to_bytes(part) for image in frames(32) if (part := sampler.add(image)) is not None]

    expected = collected_bytes()
    monkeypatch.setattr("multigraft.runtime.tflite_model.TfliteModel._take_direct", lambda self, signature, given: None)
    assert collected_bytes() == expected
    # Each tap as far from the next as can be: they are read one by one.
    monkeypatch.setattr(
        "multigraft.calibration.collect.tap_sample._distance", lambda first, second: 0 if first is second else 1
    )
    assert collected_bytes() == expected


def test_a_minibatch_is_compared_in_parts(model: TapsRunner) -> None:
    images = frames(COMPARED + 20)
    sampler = Sampler(model, 2 * COMPARED)
    parts = [sampler.add(image) for image in images]
    assert parts == [None] * len(images)
    similarity = some(sampler.flush()).similarity
    values = representations(model, images)
    expected = SimilaritySums([t.name for t in model.taps])
    for part in (slice(0, COMPARED), slice(COMPARED, None)):
        expected.add([values[t.name][part].astype(np.float64) for t in model.taps])
    np.testing.assert_allclose(similarity.unbiased_cka(), expected.unbiased_cka(), atol=1e-6)
    assert (similarity.frames, similarity.minibatches) == (COMPARED + 20, 2)


def test_only_large_taps_are_sampled_and_less_where_memory_is_short() -> None:
    taps = [Tap("a", "n", (8, 8, 64)), Tap("b", "n", (8, 8, 8)), Tap("c", "n", (16,))]
    assert plan_samples(taps, 32, 1 << 30, 4096) == {}
    assert plan_samples(taps, 32, 1 << 30, 1000) == {"a": 1000}
    assert plan_samples(taps, 32, 32 * 4 * (2 * 200 + 2 * 200 + 16), 1000) == {"a": 200, "b": 200}
    with pytest.raises(UsageError, match="do not fit"):
        plan_samples(taps, 32, 32 * 4 * 300)


def test_taps_in_the_order_of_the_network(model: TapsRunner) -> None:
    assert [t.name for t in model.taps] == [f"{n}/relu{i}" for n in ("garment", "digit") for i in (1, 2)]


def test_a_minibatch_survives_its_encoding(model: TapsRunner) -> None:
    sampler = Sampler(model, 8)
    for image in frames(7):
        assert sampler.add(image) is None
    part = some(sampler.add(frames(1, seed=9)[0]))
    again = from_bytes(to_bytes(part))
    a, b = Statistics(sampler.subject, 2), Statistics(sampler.subject, 2)
    a.add(part, ("s", "d"))
    b.add(again, ("s", "d"))
    assert a == b
    with pytest.raises(InputError, match="damaged"):
        from_bytes(to_bytes(part)[:-9])


def test_large_sums_survive_their_encoding_bit_for_bit(model: TapsRunner) -> None:
    sampler = Sampler(model, 4)
    part = some([sampler.add(image) for image in frames(4)][-1])
    random = np.random.default_rng(0)
    exact = random.normal(size=(40, 50))
    part.overall.sums |= {
        "a/long": exact,
        "a/short": exact.astype(np.float32).astype(np.float64),
        "b/huge": exact * 1e50,
    }
    again = from_bytes(to_bytes(part))
    assert again.overall.sums.keys() == part.overall.sums.keys()
    for name, values in part.overall.sums.items():
        assert again.overall.sums[name].dtype == np.float64
        np.testing.assert_array_equal(again.overall.sums[name], values)
    part.overall.sums["a/long"] = part.overall.sums["a/short"]
    assert len(to_bytes(again)) - len(to_bytes(part)) == pytest.approx(4 * exact.size, abs=64)


def test_fewer_than_four_frames_are_forgotten(model: TapsRunner) -> None:
    sampler = Sampler(model, 8)
    for image in frames(3):
        sampler.add(image)
    assert sampler.flush() is None and sampler.pending == 0


def test_frames_of_several_sizes_make_a_minibatch(model: TapsRunner) -> None:
    sampler = Sampler(model, 4)
    sizes = (12, 20, 40, 200)
    parts = [sampler.add(np.kron(frames(1, i)[0], np.ones((4, 4)))[:n, :n].astype(np.uint8).repeat(5, 0)[:n])
             for i, n in enumerate(sizes)]  # fmt: skip
    assert some(parts[-1]).local.counts["sharpness"].sum() == 4


def test_a_bundle_without_taps_is_refused() -> None:
    with pytest.raises(BundleError, match="calibrate prepare"):
        TapsRunner(build(float32=True).bundle)


def test_margin_and_entropy_of_logits_and_probabilities_agree() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (40, 6)).astype(np.float32)
    raised = np.exp(logits.astype(np.float64))
    softmax = (raised / raised.sum(1, keepdims=True)).astype(np.float32)
    for a, b in zip(uncertainty.margin_and_entropy(logits), uncertainty.margin_and_entropy(softmax), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    certain, entropy = uncertainty.margin_and_entropy(np.array([[50.0, 0, 0], [1, 1, 1]], np.float32))
    np.testing.assert_allclose(certain, [1, 0], atol=1e-9)
    np.testing.assert_allclose(entropy, [0, 1], atol=1e-9)
    single, _ = uncertainty.margin_and_entropy(np.array([[-30.0], [30.0]], np.float32))
    np.testing.assert_allclose(single, [1, 1])


def test_blur_lowers_sharpness_and_light_raises_brightness() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    blurred = image[:, :-1, :-1] // 4 + image[:, 1:, :-1] // 4 + image[:, :-1, 1:] // 4 + image[:, 1:, 1:] // 4
    assert frame_quality.sharpness(blurred)[0] < frame_quality.sharpness(image)[0] / 3
    grey = np.full((48, 48, 3), 100, np.uint8)
    np.testing.assert_allclose(frame_quality.signature(grey), 100, rtol=1e-5)
    assert frame_quality.difference(
        frame_quality.signature(grey), frame_quality.signature(grey + np.uint8(5))
    ) == pytest.approx(5, abs=1e-3)
