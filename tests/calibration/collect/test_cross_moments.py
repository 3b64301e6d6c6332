"""Second moments between taps: those of their frames, the same after a resumed run, none below the minimum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.calibration.collect import cross_moments
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.cross_moments import EARLY, EVERY, EVERY_FRAME
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.statistics import statistics_file
from multigraft.statistics.entries import CROSSED, INNER
from multigraft.tensors.arrays import Array
from tests.calibration.networks import frames, taps_bundle
from tests.calibration.samples import released
from tests.optional import some

MINIBATCH, FRAMES = 8, 160
OPTIONS = CollectOptions(minibatch=MINIBATCH, minimum_frames=16)


def test_they_are_the_products_of_the_frames_that_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_moments, "POSITIONS", 36)  # all
    monkeypatch.setattr(cross_moments, "BLOCK", 5)  # and a rest
    images = frames(FRAMES)
    np.save(tmp_path / "frames.npy", images)
    for limit in (72, FRAMES):
        options = CollectOptions(frames=limit, minibatch=MINIBATCH, minimum_frames=16)
        collect(taps_bundle(), ArrayFile(tmp_path / "frames.npy"), tmp_path / "a.mgstats", options)
    statistics = statistics_file.read(tmp_path / "a.mgstats")
    places = [divmod(i, MINIBATCH) for i in range(FRAMES)]
    seen = [i for i, (n, p) in enumerate(places) if n < EARLY or (n % EVERY == 0 and p % EVERY_FRAME == 0)]
    assert statistics.crossed_frames == len(seen) == 76
    assert statistics.cross_rows("garment/relu2") == 76 * 36 and statistics.cross_rows("garment/image") == 0
    model = TapsRunner(taps_bundle())
    rows: dict[str, list[Array]] = {}
    for index in seen:
        model.run(images[index])
        for name in ("garment/relu2", "digit/relu2"):
            rows.setdefault(name, []).append(model.arrays[name].reshape(-1, 8).copy())
    x, y = (np.concatenate(rows[n]).astype(np.float64) for n in ("garment/relu2", "digit/relu2"))
    np.testing.assert_allclose(some(statistics.cross_moments("garment/relu2", "digit/relu2")), x.T @ y, rtol=1e-5)
    np.testing.assert_allclose(some(statistics.cross_moments("digit/relu2", "garment/relu2")), y.T @ x, rtol=1e-5)
    np.testing.assert_allclose(some(statistics.cross_moments("garment/relu2", "garment/relu2")), x.T @ x, rtol=1e-5)
    assert statistics.cross_moments("garment/relu1", "digit/relu2") is None
    again = tmp_path / "b.mgstats"
    collect(taps_bundle(), ArrayFile(tmp_path / "frames.npy"), again, OPTIONS)
    twice = statistics + statistics_file.read(again)
    assert twice.crossed_frames == 152
    np.testing.assert_allclose(some(twice.cross_moments("garment/relu2", "digit/relu2")), 2 * (x.T @ y), rtol=1e-5)


def test_a_sample_of_positions_has_the_same_moments_for_all_taps_of_as_many(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", frames(512, seed=4))
    collect(taps_bundle(), ArrayFile(tmp_path / "frames.npy"), tmp_path / "a.mgstats", CollectOptions())
    statistics = statistics_file.read(tmp_path / "a.mgstats")
    rows, model, values = statistics.cross_rows("garment/relu2"), TapsRunner(taps_bundle()), []
    assert rows == 512 * cross_moments.POSITIONS
    for image in frames(512, seed=4):
        model.run(image)
        values.append([model.arrays[f"{n}/relu2"].reshape(-1, 8).copy() for n in ("garment", "digit")])
    x, y = np.array(values, np.float64).swapaxes(0, 1).reshape(2, -1, 8)
    whole = x.T @ y / len(x)
    assert (
        np.abs(some(statistics.cross_moments("garment/relu2", "digit/relu2")) / rows - whole).max()
        < 0.02 * np.abs(whole).max()
    )
    # Of the same positions in both: what two networks share there is in the products.
    shuffled = x.T @ np.random.default_rng(0).permutation(y) / len(x)
    assert np.abs(shuffled - whole).max() > 0.1 * np.abs(whole).max()


def test_sums_of_too_few_frames_are_not_written(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", frames(FRAMES))
    statistics = collect(taps_bundle(), ArrayFile(tmp_path / "frames.npy"), tmp_path / "a.mgstats", OPTIONS).statistics
    statistics.overall.counts[CROSSED] = np.array(OPTIONS.minimum_frames - 1)
    statistics.overall.counts[INNER] = np.array(OPTIONS.minimum_frames - 1)
    statistics.overall.lows["garment/inner"] = statistics.overall.highs["garment/inner"] = np.array(1.0)
    written = statistics_file.read(released(statistics, tmp_path / "b.mgstats"))
    assert written.crossed_frames == written.inner_frames == 0
    assert written.cross_moments("garment/relu2", "digit/relu2") is None
    assert all(name.startswith(("channel/", "square/")) for name in written.overall.sums)
    assert "garment/inner" not in written.ranges() and "garment/relu2" in written.ranges()
