"""Collecting: resuming equals not stopping, kills lose nothing, and only what was asked for is kept."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.calibration.collect import kept_frames
from multigraft.calibration.collect.collect_events import CollectEvent
from multigraft.calibration.collect.collect_options import CollectOptions, kept_folder_of, store_of
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.frame_quality import Signature
from multigraft.calibration.collect.selection import FrameSelector
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.calibration.collect.store import Store
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.devices.cameras.fake_camera import FakeCamera
from multigraft.devices.cameras.fake_picamera2 import FakePicamera2
from multigraft.devices.cameras.pi_camera import PiCamera
from multigraft.errors import UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.subject import Subject
from multigraft.tensors.preprocessing import Frame
from tests.calibration.networks import frames, taps_bundle
from tests.optional import some

BUNDLE = taps_bundle()
ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("MULTIGRAFT_KILLS", "5"))
"""The figure in docs/figures.md is of 50."""


def summed(path: Path | None) -> Statistics:
    """What a file holds, whichever store it is of, and whichever release."""
    statistics = statistics_file.read(some(path))
    assert [r.frames for r in statistics.releases.values()] == [statistics.frames]
    statistics.releases = {}
    return statistics


def options(**changes: Any) -> CollectOptions:
    return dataclasses.replace(CollectOptions(site="a", minibatch=8, minimum_frames=8), **changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "frames.npy"
    np.save(path, frames(200, seed=3))
    return path


def test_all_frames_of_a_file_are_in_the_statistics(tmp_path: Path, source: Path) -> None:
    done = collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options())
    assert (done.reason, done.used, done.statistics.frames) == ("source ended", 200, 200)
    written = statistics_file.read(some(done.path))
    assert written.frames == 200 and written.sites == ("a",)
    for name in ("brightness", "sharpness", "margin/garment", "entropy/digit"):
        assert sum(t.counts[name].sum() for t in written.places.values()) == 200


@pytest.mark.parametrize("steps", [(50, 90, None), (8, 16, 24, 199, None)])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, source: Path, steps: tuple[int | None, ...]) -> None:
    whole = collect(BUNDLE, ArrayFile(source), tmp_path / "whole.mgstats", options(), clock=lambda: 0.0)
    for frames_wanted in steps:
        part = collect(
            BUNDLE, ArrayFile(source), tmp_path / "part.mgstats", options(frames=frames_wanted), clock=lambda: 0.0
        )
    assert part.statistics == whole.statistics
    assert summed(part.path) == summed(whole.path) == whole.statistics
    before = some(part.path).read_bytes()
    again = collect(BUNDLE, ArrayFile(source), tmp_path / "part.mgstats", options())
    assert again.used == again.missing == 0 and some(again.path).read_bytes() == before


def test_what_a_stop_leaves_out_of_the_statistics_is_not_said_to_be_in_them(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = FrameSelector.choose
    seen: list[float] = []

    def interrupted(selector: FrameSelector, frame: Frame, now_s: float) -> Signature | None:
        seen.append(now_s)
        if len(seen) == 45:
            os.kill(os.getpid(), signal.SIGINT)
        return look(selector, frame, now_s)

    monkeypatch.setattr(FrameSelector, "choose", interrupted)
    done = collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options())
    assert (done.reason, done.used, done.statistics.frames) == ("stopped", 40, 40)


def start(source: Path, output: Path, delay_s: float = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.calibration.replay", str(source), str(output), str(delay_s)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_kills_at_random_moments_change_no_bit(tmp_path: Path) -> None:
    source = tmp_path / "frames.npy"
    np.save(source, frames(2400, seed=4))
    whole = tmp_path / "whole.mgstats"
    process = start(source, whole)
    began = time.monotonic()
    assert process.wait(timeout=300) == 0, process.stderr
    lasted_s = time.monotonic() - began
    killed, output = 0, tmp_path / "killed.mgstats"
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start(source, output)
        try:
            process.wait(timeout=moments.uniform(0, 1.5 * lasted_s / KILLS))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    process = start(source, output)
    assert process.wait(timeout=300) == 0
    process.communicate()
    assert killed >= KILLS // 2
    assert summed(output) == summed(whole)
    numbers = [[r.number for r in statistics_file.read(p).releases.values()] for p in (output, whole)]
    assert numbers[0] == numbers[1] and numbers[0][0] > 1
    kept, expected = (kept_folder_of(p) for p in (output, whole))
    assert {p.name: p.read_bytes() for p in kept.iterdir()} == {p.name: p.read_bytes() for p in expected.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_the_file_written(tmp_path: Path, number: signal.Signals) -> None:
    source, output = tmp_path / "frames.npy", tmp_path / "a.mgstats"
    np.save(source, frames(4000, seed=5))
    process = start(source, output, 0.5)
    log = Path(f"{store_of(output)}-wal")
    while not log.exists() or log.stat().st_size < 300_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert 0 < statistics_file.read(output).frames < 4000


def test_it_stops_by_itself_at_the_precision_asked_for(tmp_path: Path) -> None:
    camera = FakeCamera(24, 24, False)
    events: list[CollectEvent] = []
    done = collect(BUNDLE, camera, tmp_path / "a.mgstats", options(precision=0.3), events.append)
    assert done.reason == "precision reached"
    assert some(done.statistics.precision()).max() <= 0.3
    assert some(events[-1].precision) <= 0.3 and events[-1].frames == done.statistics.frames
    minutes = collect(BUNDLE, camera, tmp_path / "b.mgstats", options(minutes=1e-9, minimum_frames=32))
    assert minutes.reason == "minutes reached" and minutes.path is None


def test_days_and_sites_are_kept_apart(tmp_path: Path, source: Path) -> None:
    days = iter(np.repeat([0.0, 86_400.0], 1000))
    done = collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options(), clock=lambda: float(next(days)))
    assert set(done.statistics.places) == {("a", "1970-01-01")}
    days = iter([0.0] * 10 + [86_400.0] * 100)
    done = collect(BUNDLE, ArrayFile(source), tmp_path / "b.mgstats", options(), clock=lambda: next(days))
    assert {p: t.frames for p, t in done.statistics.places.items()} == {
        ("a", "1970-01-01"): 80, ("a", "1970-01-02"): 120,
    }  # fmt: skip


def test_near_duplicates_are_skipped_and_frames_spread() -> None:
    rule = SelectionRule(min_difference=3.0)
    selector = FrameSelector(rule)
    image = frames(1, size=24)[0] // 2
    used = [selector.choose(image + np.uint8(step), 0.0) is not None for step in (0, 1, 2, 3, 4, 5, 6, 7)]
    assert used == [True, False, False, True, False, False, True, False] and selector.skipped == 5
    resumed = FrameSelector(rule, selector.state)
    assert resumed.choose(image + np.uint8(8), 0.0) is None
    timed = FrameSelector(SelectionRule(0, interval_s=1.0))
    assert [timed.choose(image, t / 4) is not None for t in range(9)] == [True, *[False] * 3] * 2 + [True]
    every = FrameSelector(SelectionRule(0, every=3))
    assert [every.choose(image, 0.0) is not None for _ in range(6)] == [True, False, False] * 2


def test_a_frame_that_is_not_used_is_not_fetched(tmp_path: Path) -> None:
    """Of a camera with a low-resolution stream; what is collected is what the frames give."""
    every = 3
    images = frames(64, seed=6).repeat(2, 1).repeat(2, 2)
    made: list[FakePicamera2] = []

    def driver(number: int) -> FakePicamera2:
        # Each picture for three times, as of a scene that stands still.
        made.append(FakePicamera2(number, lambda picture, height, width: np.stack([images[picture // every]] * 3, -1)))
        return made[-1]

    camera = PiCamera(24, 24, driver=driver)
    done = collect(BUNDLE, camera, tmp_path / "a.mgstats", options(frames=64), clock=lambda: 0.0)
    assert (done.used, done.skipped, done.reason) == (64, 126, "frames reached")
    assert made[0].copied == {"main": 64, "lores": 190} and made[0].held == 0
    np.save(tmp_path / "frames.npy", np.stack([images] * 3, -1))
    plain = collect(BUNDLE, ArrayFile(tmp_path / "frames.npy"), tmp_path / "b.mgstats", options(), clock=lambda: 0.0)
    assert summed(plain.path) == summed(done.path)
    collect(BUNDLE, camera, tmp_path / "c.mgstats", options(frames=8, rule=SelectionRule(0)))
    assert made[1].copied == {"main": 8, "lores": 0}


def test_no_frame_is_stored_unless_asked_for(tmp_path: Path, source: Path) -> None:
    collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options())
    assert {p.name.removesuffix("-wal") for p in tmp_path.iterdir()} == {
        "a.mgstats", "a.mgstats.collecting", "frames.npy",
    }  # fmt: skip


def test_a_file_that_was_being_written_at_a_kill_is_removed_by_the_next_run(tmp_path: Path, source: Path) -> None:
    for name in (".a.mgstats.x7f3k2", ".b.mgstats.x7f3k2", ".a.mgstats"):
        (tmp_path / name).write_bytes(b"half")
    collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options(frames=8))
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} == {".b.mgstats.x7f3k2", ".a.mgstats"}


def test_numbers_at_their_limits_stop_a_run_where_they_say(tmp_path: Path, source: Path) -> None:
    done = collect(BUNDLE, ArrayFile(source), tmp_path / "a.mgstats", options(frames=64))
    assert (done.reason, done.statistics.frames) == ("frames reached", 64)
    # A file is written from just as many detailed frames on as the minimum says: every eighth.
    assert done.path is not None and done.statistics.detailed_frames == 8
    below = collect(BUNDLE, ArrayFile(source), tmp_path / "b.mgstats", options(frames=56))
    assert below.path is None and below.statistics.detailed_frames == 7


def test_the_most_uncertain_frames_are_kept_within_the_quota(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "a.mgstats"
    folder = kept_folder_of(output)
    collect(BUNDLE, ArrayFile(source), output, options(keep_frames=5))
    with Store(store_of(output), *_subject(output)) as store:
        listed = sorted(store.kept)
        margins = [k.margin for k in store.kept.values()]
    assert sorted(p.name for p in folder.iterdir()) == listed and len(listed) == 5
    alone = tmp_path / "all.mgstats"
    collect(BUNDLE, ArrayFile(source), alone, options(keep_frames=200))
    with Store(store_of(alone), *_subject(alone)) as store:
        everything = sorted(k.margin for k in store.kept.values())
    assert sorted(margins) == everything[:5]
    assert kept_frames.purge(folder) == 5 and not folder.exists()


def test_frames_are_kept_whose_entropy_lies_in_a_band(tmp_path: Path, source: Path) -> None:
    def kept(name: str, **how: Any) -> set[str]:
        output = tmp_path / f"{name}.mgstats"
        collect(BUNDLE, ArrayFile(source), output, options(keep_frames=200, **how))
        return {path.name for path in kept_folder_of(output).glob("*")}

    every, low, high = kept("every"), kept("low", keep_entropy=(0.0, 0.5)), kept("high", keep_entropy=(0.5, 1.0))
    assert low | high == every and not low & high and len(every) == 200


def _subject(output: Path) -> tuple[Subject, int]:
    statistics = statistics_file.read(output)
    return statistics.subject, statistics.minimum_frames


def test_options_that_mean_nothing_are_refused() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"frames": 0}, {"minutes": -1.0}, {"precision": float("nan")}, {"site": " "}, {"site": "a/b"},
        {"keep_frames": 1, "keep_entropy": (0.9, 0.1)}, {"keep_entropy": (0.1, 0.9)},
        {"keep_frames": 1, "keep_days": 0.5, "keep_daily_bytes": 1},
        *({"keep_frames": 1, "keep_daily_bytes": bytes_} for bytes_ in (0.0, float("inf"), float("nan"))),
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(UsageError):
            options(**wrong)
