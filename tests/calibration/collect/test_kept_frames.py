"""Frames that are kept because they were asked for: within quota and retention, as they were, and removed whole."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from multigraft.calibration.collect import kept_frames
from multigraft.calibration.collect.store_facts import Kept, kept_from_row
from tests.calibration.networks import frames


def test_what_a_kill_left_of_a_frame_is_removed_too(tmp_path: Path) -> None:
    folder = tmp_path / "k"
    folder.mkdir()
    for name in (".kept-00000133.pgm.5a6qvx1i", "kept-00000007.ppm", "notes.txt"):
        (folder / name).write_bytes(b"")
    assert kept_frames.purge(folder) == 2
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


def test_kept_frames_obey_quota_and_retention(tmp_path: Path) -> None:
    image = frames(1)[0]
    size = len(kept_frames.encode(image))
    kept = kept_frames.KeptFrames(tmp_path / "k", 100, 2 * size, 10.0)
    assert [kept.offer(image, margin, n, 0.0) for n, margin in enumerate((0.9, 0.5, 0.7, 0.95))] == [
        True, True, True, False,
    ]  # fmt: skip
    kept.confirm()
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == ["kept-00000001.pgm", "kept-00000002.pgm"]
    # Of equals the earlier stays; a frame that is just as old as allowed stays, too.
    assert not kept.offer(image, 0.7, 5, 10.0)
    assert len(list((tmp_path / "k").iterdir())) == 2
    assert kept.offer(image, 0.99, 9, 11.0)
    kept.confirm()
    assert [p.name for p in (tmp_path / "k").iterdir()] == ["kept-00000009.pgm"]


def test_in_no_day_more_bytes_are_kept_than_the_budget_says_and_none_gives_way(tmp_path: Path) -> None:
    image = frames(1)[0]
    size, day = len(kept_frames.encode(image)), kept_frames.DAY_S
    budget = 3 * size + size // 2
    kept = kept_frames.KeptFrames(tmp_path / "k", 100, 1 << 20, 7 * day, daily_bytes=budget)
    taken: list[float] = []
    for number in range(400):
        now_s = number * day / 100
        if kept.offer(image, 1 - number / 400, number, now_s):
            taken.append(now_s)
        kept.confirm()
        assert sum(size for at in taken if now_s - at < day) <= budget
    assert len(taken) == 3 * 4, "the budget of each of the four days is used"
    assert len(list((tmp_path / "k").iterdir())) == len(taken)
    again = kept_frames.KeptFrames(tmp_path / "k", 100, 1 << 20, 7 * day, kept._kept.values(), daily_bytes=budget)
    assert not again.offer(image, 0.0, 500, taken[-1] + day / 2), "a restart brings no new budget"


class Runs:
    """Runs over one folder with a budget of two frames a day, each of which may be cut off anywhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.image = folder, frames(1)[0]
        self.size, self.now_s = len(kept_frames.encode(self.image)), time.time()
        self.listed: list[Kept] = []

    def begun(self) -> kept_frames.KeptFrames:
        day, daily = kept_frames.DAY_S, 2.5 * self.size
        return kept_frames.KeptFrames(self.folder, 100, 1 << 20, 7 * day, self.listed, daily_bytes=daily)

    def offered(self, ends: str) -> bool:
        """Whether a run keeps a frame; it ends before the store takes it, before it is shown, or orderly."""
        kept = self.begun()
        is_kept = kept.offer(self.image, 0.5, 0, self.now_s)
        if ends != "unlisted":
            self.listed += kept.changes[0]
        if ends == "orderly":
            kept.confirm()
        return is_kept

    def shown(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("ends", ["orderly", "unshown"])
def test_frames_that_are_moved_away_stay_in_the_sum_wherever_a_run_is_cut_off(tmp_path: Path, ends: str) -> None:
    runs, moved = Runs(tmp_path / "k"), 0
    for _ in range(6):
        runs.offered(ends)
        runs.begun()
        for path in runs.shown():
            path.unlink()
            moved += 1
    assert moved == 2


def test_what_the_store_never_listed_was_never_shown_and_goes(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "k")
    assert [runs.offered("unlisted") for _ in range(4)] == [True] * 4
    assert runs.shown() == []
    runs.begun()
    assert list((tmp_path / "k").iterdir()) == []


def test_frames_of_a_version_that_showed_them_at_once_count_as_well(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "k")
    (tmp_path / "k").mkdir()
    for number in range(2):
        (tmp_path / "k" / f"kept-{number:08d}.pgm").write_bytes(kept_frames.encode(runs.image))
    assert not runs.offered("unlisted")
    taken_over, _ = runs.begun().changes
    assert sum(one.bytes for one in taken_over) == 2 * runs.size and len(runs.shown()) == 2


def test_frames_of_one_number_do_not_replace_each_other(tmp_path: Path) -> None:
    # A camera is counted anew by each run.
    def offered(listed: list[Kept], value: int, margin: float) -> list[Kept]:
        kept = kept_frames.KeptFrames(tmp_path / "k", 2, 1 << 20, 10.0, listed)
        assert kept.offer(np.full((2, 2), value, np.uint8), margin, 7, 0.0)
        added, dropped = kept.changes
        kept.confirm()
        return [one for one in listed if one.file not in dropped] + added

    from multigraft.devices.cameras.image_folder import read_image

    listed: list[Kept] = []
    for value, margin in ((1, 0.9), (2, 0.5), (3, 0.1)):
        listed = offered(listed, value, margin)
    seen = {int(read_image(tmp_path / "k" / one.file)[0, 0]): one.margin for one in listed}
    assert seen == {2: 0.5, 3: 0.1}


def test_a_kept_frame_that_the_store_lists_outlives_the_frame_that_drops_it_until_the_store_knows(
    tmp_path: Path,
) -> None:
    image = frames(1)[0]
    kept = kept_frames.KeptFrames(tmp_path / "k", 1, 1 << 20, 10.0)
    assert kept.offer(image, 0.9, 1, 0.0)
    kept.confirm()
    assert kept.offer(image, 0.1, 2, 0.0)
    added, dropped = kept.changes
    assert [k.file for k in added] == ["kept-00000002.pgm"] and dropped == ["kept-00000001.pgm"]
    assert (tmp_path / "k" / "kept-00000001.pgm").exists()
    kept.confirm()
    assert [p.name for p in (tmp_path / "k").iterdir()] == ["kept-00000002.pgm"]


def test_a_kept_frame_is_the_frame(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from multigraft.devices.cameras.image_folder import read_image

    color = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    for name, image in (("a.ppm", color), ("a.pgm", color[:, :, 0])):
        (tmp_path / name).write_bytes(kept_frames.encode(image))
        np.testing.assert_array_equal(read_image(tmp_path / name), image)


def test_what_is_kept_of_rows_is_listed_by_a_store(tmp_path: Path) -> None:
    kept = kept_frames.KeptFrames(tmp_path / "k", 4, 1 << 20, 10.0, takes_rows=True)
    assert kept.offer(np.zeros(3, np.float32), 0.5, 7, 0.0)
    (added,), _ = kept.changes
    assert kept_from_row([added.file, added.margin, added.taken_s, added.bytes], "a store") == added
    kept_frames.KeptFrames(tmp_path / "k", 4, 1 << 20, 10.0, [added], takes_rows=True)
    assert [path.name for path in (tmp_path / "k").iterdir()] == [added.file]
