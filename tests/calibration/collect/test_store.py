"""The collector's store: locked, durable, and as it was when the disk is full or something is damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.errors import DeviceError, InputError, UsageError
from multigraft.statistics.statistics import Statistics
from tests.calibration.samples import SUBJECT, minibatch


def test_two_collectors_on_one_file_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s", SUBJECT, 8), pytest.raises(UsageError, match="another collector"):
        Store(tmp_path / "s", SUBJECT, 8)
    Store(tmp_path / "s", SUBJECT, 8).__exit__(None, None, None)


def test_a_full_disk_stops_cleanly_and_what_is_there_is_intact(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store(path, SUBJECT, 8) as store:
        store._connection.execute("PRAGMA max_page_count=40")
        with pytest.raises(DeviceError, match="what was collected is intact"):
            for number in range(1000):
                store.append(minibatch(number), ("a", "d"), Cursor(frames_read=number + 1))
        stored = store.statistics.overall.minibatches
        assert stored == store.cursor.frames_read > 0
    with Store(path, SUBJECT, 8) as store:
        assert store.statistics.overall.minibatches == store.cursor.frames_read == stored
        store.append(minibatch(stored), ("a", "d"), Cursor(frames_read=stored + 1))
        expected = Statistics(SUBJECT, 8)
        for number in range(stored + 1):
            expected.add(minibatch(number), ("a", "d"))
        assert store.statistics == expected


def test_a_checkpoint_changes_nothing_that_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store(path, SUBJECT, 8) as store:
        for number in range(9):
            store.append(minibatch(number), ("a", "d"), Cursor())
            if number in (3, 6):
                store.checkpoint()
        expected = store.statistics
    with Store(path, SUBJECT, 8) as store:
        assert store.statistics == expected


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store(path, SUBJECT, 8).__exit__(None, None, None)
    with pytest.raises(UsageError, match="another minimum frames"):
        Store(path, SUBJECT, 9)
    other = SUBJECT.__class__("1" * 64, SUBJECT.networks, SUBJECT.taps)
    with pytest.raises(UsageError, match="another subject"):
        Store(path, other, 8)
    path = tmp_path / "text"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError):
        Store(path, SUBJECT, 8)
    with pytest.raises(DeviceError):
        Store(tmp_path / "nowhere" / "s", SUBJECT, 8)


def test_a_damaged_minibatch_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store(path, SUBJECT, 8) as store:
        store.append(minibatch(0), ("a", "d"), Cursor())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE minibatch SET content = zeroblob(100)")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="damaged at minibatch 0"):
        Store(path, SUBJECT, 8)


def test_what_is_committed_is_on_the_disk(tmp_path: Path) -> None:
    """Without a power cut to try it by: SQLite's documented settings for that (2 is FULL)."""
    with Store(tmp_path / "s", SUBJECT, 8) as store:
        settings = [store._connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]
