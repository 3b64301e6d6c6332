"""Statistics of the crops that a detector finds: they equal those computed from the crops, however a run went."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.crops import crop
from multigraft.answers.detections import Detections
from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.collect_events import Collected, Gathered
from multigraft.calibration.collect.collect_options import CollectOptions, kept_folder_of
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.tap_sample import DETAIL_EVERY
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.views import turn
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.errors import MultigraftError
from multigraft.runtime.engine import Engine
from multigraft.statistics import statistics_file
from multigraft.statistics.noise import Privacy
from multigraft.statistics.similarity import SimilaritySums
from multigraft.tensors.arrays import Array
from tests.calibration.crop_networks import JUDGES, ON, crop_frames, crops_bundle, with_on

BUNDLE = crops_bundle()
FRAMES = crop_frames(300, seed=4)
MINIBATCH, MINIMUM = 16, 8
TAPS = tuple(f"{name}/{tap}" for name in JUDGES for tap in ("relu1", "relu2"))


def options(**changes: Any) -> CollectOptions:
    sizes: dict[str, Any] = {"minibatch": MINIBATCH, "minimum_frames": MINIMUM, "rule": SelectionRule(0.0)}
    return CollectOptions(**{"site": "a", **sizes, **changes})


def collected(folder: Path, bundle: Bundle = BUNDLE, **changes: Any) -> Collected:
    if not (folder / "f.npy").exists():
        np.save(folder / "f.npy", FRAMES)
    source = ArrayFile(folder / "f.npy")
    return collect(bundle, source, folder / "a.mgstats", options(**changes), clock=lambda: 0.0)


def crops_by_frame(frames: Array, view: int = 1, views: int = 2) -> Iterator[list[Array]]:
    """What the view sees of each frame that serves it, by Engine and the function that cuts."""
    engine = Engine(BUNDLE)
    for number, frame in enumerate(frames):
        if turn(number, views) == view:
            found = engine.run(frame, ["line"]).answers["line"]
            assert isinstance(found, Detections)
            if parts := [crop(frame, found, n, ON)[0] for n in ON.numbers(found)]:
                yield parts


def minibatches(by_frame: list[list[Array]]) -> list[list[tuple[int, Array]]]:
    """Number of the frame and crop: a frame's go together, and the last that is begun with fewer than wanted."""
    made: list[list[tuple[int, Array]]] = [[]]
    for number, parts in enumerate(by_frame):
        made[-1] += [(number, part) for part in parts]
        if len(made[-1]) >= MINIBATCH:
            made.append([])
    return [one for one in made if len(one) >= 4]


def run_on(crops: list[Array]) -> dict[str, Array]:
    """Tensor to its values, crop by crop: both networks on the crop itself, as if it were a frame."""
    runner = TapsRunner(BUNDLE.with_tasks(dataclasses.replace(t, on=None) for t in BUNDLE.manifest.tasks))
    rows: dict[str, list[Array]] = {name: [] for name in runner.arrays if name.startswith(JUDGES)}
    for part in crops:
        runner.run(part)
        for name, values in rows.items():
            values.append(runner.arrays[name][0].astype(np.float64))
    return {name: np.stack(values) for name, values in rows.items()}


def test_they_equal_the_same_statistics_computed_from_the_crops(tmp_path: Path) -> None:
    done = collected(tmp_path)
    statistics = done.gathered[1].statistics
    batches = minibatches(list(crops_by_frame(FRAMES)))
    assert len(batches) > 8 and any(len({n for n, _ in one}) < len(one) for one in batches)
    assert statistics.frames == sum(len({n for n, _ in one}) for one in batches)
    assert statistics.crops == sum(map(len, batches))
    detailed = [one[::DETAIL_EVERY] for one in batches]
    assert statistics.detailed_frames == sum(len({n for n, _ in one}) for one in detailed)

    seen = run_on([part for one in detailed for _, part in one])
    similarity = SimilaritySums(TAPS)
    for one in batches:
        values = run_on([part for _, part in one])
        # Of a minibatch of 17, the last crop is a part of its own, too small to compare.
        parts = [slice(0, 16), slice(16, None)] if len(one) >= MINIBATCH + 4 else [slice(0, 16)]
        for part in parts:
            similarity.add([values[tap][part].astype(np.float32) for tap in TAPS])
    for tap in TAPS:
        table = seen[tap].reshape(-1, seen[tap].shape[-1])
        mean, variance = statistics.channel_moments(tap)
        np.testing.assert_allclose(mean, table.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, table.var(axis=0), rtol=1e-3, atol=1e-6)
        assert statistics.ranges()[tap] == pytest.approx((table.min(), table.max()))
    np.testing.assert_allclose(statistics.similarity().unbiased_cka(), similarity.unbiased_cka(), rtol=1e-4, atol=1e-5)
    every = run_on([part for one in batches for _, part in one])
    for name in JUDGES:
        logits = every[f"{name}/logits"]
        assert statistics.ranges()[f"{name}/logits"] == pytest.approx((logits.min(), logits.max()))
    # What lies between the taps is of the first crop of every minibatch.
    assert statistics.inner_frames == len(batches) and "garment/mean" in statistics.ranges()
    rows = statistics.cross_rows("garment/relu1")
    moments = statistics.cross_moments("garment/relu1", "digit/relu1")
    assert rows % 8 == 0 and moments is not None and moments.shape == (4, 4)


def states(done: Collected) -> list[Any]:
    return [one.statistics for one in done.gathered]


@pytest.mark.parametrize("step", [24, 90])
def test_a_run_that_is_stopped_and_resumed_gives_the_same(tmp_path: Path, step: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    expected = collected(whole).gathered
    for limit in range(step, 300, step):
        collected(parts, frames=limit)
    # Groups and periods are dealt out by release, and every stop may make one.
    for one, other in zip(collected(parts).gathered, expected, strict=True):
        assert one.statistics.overall == other.statistics.overall
        assert one.statistics.places == other.statistics.places
        assert one.statistics.similarity() == other.statistics.similarity()
    assert sum(one.statistics.frames for one in expected) > 200


def _killing(after: int) -> Callable[..., None]:
    append, done = Store.append, itertools.count(1)

    def appending(store: Store, *arguments: Any) -> None:
        append(store, *arguments)
        if next(done) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    return appending


def test_a_run_that_is_killed_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        np.save(folder / "f.npy", FRAMES)
    expected = states(collected(whole, keep_frames=4))
    for number in (1, 2, 5):
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(Store, "append", _killing(number))
            collected(killed, keep_frames=4)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    done = collected(killed, keep_frames=4)
    assert states(done) == expected
    for one in done.gathered:
        kept = sorted(p.name for p in kept_folder_of(one.output).iterdir())
        assert kept == sorted(p.name for p in kept_folder_of(whole / one.output.name).iterdir())
        assert len(kept) == 4


def test_frames_in_which_nothing_is_found_add_nothing_to_crops(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.random.default_rng(0).integers(0, 20, (200, 128, 128)).astype(np.uint8))
    frames, crops = collected(tmp_path).gathered
    assert frames.path is not None and frames.statistics.frames > 80
    assert (crops.statistics.frames, crops.path, crops.release.number) == (0, None, 0) and crops.missing > 0


def test_what_is_released_counts_frames_and_not_their_crops(tmp_path: Path) -> None:
    def released(done: Collected) -> Gathered:
        return done.gathered[1]

    frames = crop_frames(2000, seed=9)
    engine = Engine(BUNDLE)
    many = [n for n, f in enumerate(frames) if len(engine.run(f, ["line"]).answers["line"]) == 3]  # type: ignore[arg-type]
    # Nothing but frames of three crops: a third of the frames that as many whole frames would be.
    np.save(tmp_path / "f.npy", frames[many[:200]])
    crops = released(collected(tmp_path, minimum_frames=32))
    assert crops.statistics.crops == 3 * crops.statistics.frames > 8 * 32
    assert crops.statistics.detailed_frames >= 32
    assert crops.path is not None and statistics_file.read(crops.path).subject.crops == (ON,)
    few = tmp_path / "few"
    few.mkdir()
    np.save(few / "f.npy", frames[many[:64]])
    crops = released(collected(few, minimum_frames=32))
    assert crops.statistics.crops > 64 and crops.statistics.frames < 40
    assert crops.path is None and crops.missing > 0


def test_crops_of_other_boxes_do_not_go_into_the_same_store(tmp_path: Path) -> None:
    collected(tmp_path, frames=60)
    for changed in (dataclasses.replace(ON, margin=0.2), dataclasses.replace(ON, top=1)):
        with pytest.raises(MultigraftError, match="begun with another subject"):
            collected(tmp_path, with_on(BUNDLE, changed))
    # How long a device may take does not change what is cut out.
    collected(tmp_path, with_on(BUNDLE, dataclasses.replace(ON, deadline_us=1.0)), frames=90)


def test_noise_is_refused_where_a_frame_decides_whether_it_counts(tmp_path: Path) -> None:
    with pytest.raises(MultigraftError, match=r"garment has a crop is up to the frame.*--tasks line"):
        collected(tmp_path, privacy=Privacy(1.0))
    assert not (tmp_path / "a.mgstats.collecting").exists()


def test_without_the_task_that_finds_the_boxes_there_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MultigraftError, match="boxes of line, which is not there"):
        Bundle.open(BUNDLE.with_tasks(BUNDLE.manifest.tasks[1:]).write(tmp_path / "a.mgtaps"))


def test_a_frame_serves_one_view_alone(tmp_path: Path) -> None:
    first = dataclasses.replace(ON, top=1)
    tasks = [dataclasses.replace(t, on=first if t.name == "digit" else t.on) for t in BUNDLE.manifest.tasks]
    done = collected(tmp_path, BUNDLE.with_tasks(tasks))
    assert [one.view.tasks for one in done.gathered] == [("line",), ("garment",), ("digit",)]
    assert [one.output.name for one in done.gathered] == ["a.mgstats", "a.line.mgstats", "a.line-2.mgstats"]
    shares = [sum(turn(n, 3) == view for n in range(len(FRAMES))) for view in range(3)]
    assert sum(shares) == len(FRAMES) and min(shares) > 80
    assert done.gathered[0].statistics.frames == shares[0]
    for view in (1, 2):
        with_some = len(list(crops_by_frame(FRAMES, view, 3)))
        # The last few may be too few for a minibatch.
        assert with_some - 4 < done.gathered[view].statistics.frames <= with_some
