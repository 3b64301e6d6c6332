"""What may be added up: all that collect really writes, and nothing that only a liar writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.converters.fleet.admission import MOST_BINS, MOST_FEATURES
from multigraft.converters.fleet.head import read_head
from multigraft.converters.fleet.parts import Job, Rules, part_of
from multigraft.converters.fleet.turns import AT_ONCE, Turn
from multigraft.converters.urls import Entry
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.reading import UnreadableError
from multigraft.statistics import statistics_file
from multigraft.statistics.noise import Privacy
from multigraft.statistics.statistics import Statistics
from multigraft.tensors.arrays import Array
from tests.calibration.crop_networks import crop_frames, crops_bundle
from tests.calibration.networks import frames, taps_bundle
from tests.converters.fleet.fleet_files import content, with_arrays

Arrays = dict[str, Array]


def said_of(path: Path, data: bytes) -> str | None:
    """Why a file does not count among 10,000; None where it does."""
    path.write_bytes(data)
    entry = Entry(str(path), len(data), "")
    head = read_head(entry)
    part = part_of((Job(entry, head.digest, ""),), Rules(head.subject, 10_000, {"": "site and day"}))
    assert bool(part.sums) == bool(part.rows) == (not part.aside)
    return part.aside.get(str(path))


COLLECTED: dict[str, tuple[Callable[[], Bundle], Callable[[int], Array], Privacy | None]] = {
    "pictures": (taps_bundle, frames, None),
    "with noise": (taps_bundle, frames, Privacy(8.0)),
    "crops": (crops_bundle, crop_frames, None),
}


@pytest.mark.parametrize("of", COLLECTED)
def test_what_collect_writes_counts_alone_and_added_up(tmp_path: Path, of: str) -> None:
    bundle, taken, privacy = COLLECTED[of]
    if privacy is not None:
        pytest.importorskip("opendp")
    np.save(tmp_path / "frames.npy", taken(160))
    options = CollectOptions(site="a", minibatch=8, minimum_frames=8, rule=SelectionRule(0.0), privacy=privacy)
    for name in ("1", "2"):
        collect(bundle(), ArrayFile(tmp_path / "frames.npy"), tmp_path / f"{name}.mgstats", options)
    written = sorted(path for path in tmp_path.glob("*.mgstats"))
    assert len(written) == (4 if of.startswith("crops") else 2)
    read = [statistics_file.read(path) for path in written]
    for one in (*read, Statistics.merge(read[0], read[len(read) // 2])):
        assert said_of(tmp_path / "one", statistics_file.to_bytes(one.coalesced())) is None


def add(name: str, array: Array) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: array})


def _features(length: int) -> Callable[[Arrays], None]:
    means, products = np.zeros((2, length), np.int64), np.zeros((2, length, length), np.int64)
    return lambda arrays: arrays.update({"sum/drift/image": means, "sum/drift2/image": products})


def _scaled(name: str, factor: int) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name] * factor

    return change


def _negative_squares(arrays: Arrays) -> None:
    arrays["sum/drift2/image"][0] = -5


def _wide(arrays: Arrays) -> None:
    arrays["high/garment/relu1"] = np.array(1e39)


LIES: dict[str, tuple[str, Callable[[Arrays], None], str]] = {
    "an array of its own": ("place-0.npz", add("count/own", np.zeros(1 << 22, np.int64)), "count/own, which"),
    "a sum of its own": ("overall.npz", add("sum/channel/x", np.zeros((2, 3), np.int64)), "sum/channel/x, which"),
    "a sum of no place": ("place-0.npz", add("sum/channel/garment/relu1", np.zeros((2, 3), np.int64)), "which collect"),
    "ranges of a place": (
        "place-0.npz", lambda a: a.update({"low/x": np.array(0.0), "high/x": np.array(0.0)}), "ranges of 1 tensors",
    ),
    "a long histogram": ("place-0.npz", add("count/brightness", np.zeros(MOST_BINS + 1, np.int64)), "1,025 bins"),
    "many features": ("place-0.npz", _features(MOST_FEATURES + 1), "65 features"),
    "frames of a place": ("place-0.npz", add("size", np.array([97, 12])), "another number of frames"),
    "minibatches of a place": ("place-0.npz", add("size", np.array([96, 1 << 40])), "another number of frames"),
    "counts of more frames": ("place-0.npz", _scaled("count/sharpness", 2), "more than the 96 frames"),
    "counts that wrap to none": ("place-0.npz", add("count/brightness", np.full(64, 1 << 58)), "than the 96 frames"),
    "squares below zero": ("place-0.npz", _negative_squares, "image contradict their squares"),
    "no squares": ("place-0.npz", _scaled("sum/drift2/digit", 0), "digit contradict their squares"),
    "no float32": ("overall.npz", _wide, "no float32"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_only_a_liar_writes_is_named(tmp_path: Path, lie: str) -> None:
    member, change, said = LIES[lie]
    assert said in str(said_of(tmp_path / "a.mgstats", with_arrays(content(3), change, member)))


def test_a_large_file_waits_until_no_other_is_large() -> None:
    began, passed = threading.Event(), threading.Event()

    def unpack() -> None:
        with Turn(4 * AT_ONCE) as turn:
            allowance = turn.allowance(AT_ONCE)
            allowance.take(AT_ONCE)
            began.set()
            allowance.take(AT_ONCE)
            passed.set()

    with Turn(4 * AT_ONCE) as turn:
        allowance = turn.allowance(AT_ONCE)
        for _ in range(2):
            allowance.take(AT_ONCE)
        other = threading.Thread(target=unpack)
        other.start()
        assert began.wait(60) and not passed.wait(0.05)
    other.join(60)
    assert passed.is_set()
    with Turn(AT_ONCE) as turn, pytest.raises(UnreadableError, match="unpacks to more"):
        turn.allowance(1).take(AT_ONCE + 1)
