"""The collector's store: an append-only log of minibatches in one SQLite file, folded into a checkpoint now and then.

Each minibatch is one transaction (WAL, ``synchronous=FULL``) together with the place in the source that was reached, so
that a kill or a power cut costs the minibatch being gathered and nothing else, and a resumed run goes on where the
store ends. The connection locks the file exclusively: a second collector is refused, and the lock dies with its
process. The store stays on the device. Besides sums it holds 8 x 8 grey means of the frame used last, by which the next
one is compared.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.calibration.collect import minibatch_record
from multigraft.calibration.database import Database
from multigraft.errors import InputError, UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import Minibatch, Place, Statistics
from multigraft.statistics.subject import Subject

SCHEMA = 2
CHECKPOINT_EVERY = 64
"""Minibatches after which the log is folded: keeps the file and the time to resume small."""

CHECKPOINT_LEVEL = 1
"""The level of zlib's compression: a checkpoint is read by this device alone, and written while frames wait."""

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS minibatch (number INTEGER PRIMARY KEY, site TEXT NOT NULL, day TEXT NOT NULL,
    content BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 0), upto INTEGER NOT NULL,
    content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS kept (file TEXT PRIMARY KEY, margin REAL NOT NULL, taken_s REAL NOT NULL,
    bytes INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Kept:
    """A frame that was stored because it was asked for: file name, margin 0..1, Unix time in seconds, size."""

    file: str
    margin: float
    taken_s: float
    bytes: int


@dataclass(frozen=True)
class Cursor:
    """How far collecting has come.

    Attributes:
        source: Name of the source that was read last.
        frames_read: Frames read of it, also those that were not used.
        selection: State of the frame selection.
        active_s: Time spent collecting, seconds.
    """

    source: str = ""
    frames_read: int = 0
    selection: Any = None
    active_s: float = 0.0


class Store(Database):
    """One run's minibatches, open and locked.

    Args:
        path: The file; made if it is not there.
        subject: What is measured.
        minimum_frames: Minimum of the statistics.

    Attributes:
        statistics: All minibatches in the store.
        cursor: How far collecting had come with the last one.
        kept: Frames kept, by file name.

    Raises:
        UsageError: Another collector has the file open, or it belongs to other networks or settings.
        InputError: It is damaged or no store.
        DeviceError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], subject: Subject, minimum_frames: int) -> None:
        super().__init__(path, _TABLES)
        try:
            self._check(subject, minimum_frames)
            self._since = 0
            self.statistics = self._load(subject, minimum_frames)
            self.cursor = Cursor(**json.loads(self._fact("cursor") or "{}"))
            rows = self._connection.execute("SELECT file, margin, taken_s, bytes FROM kept")
            self.kept = {row[0]: Kept(*row) for row in rows}
        except BaseException:
            self._connection.close()
            raise

    def _fact(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _check(self, subject: Subject, minimum_frames: int) -> None:
        facts = {
            "schema": str(SCHEMA),
            "subject": json.dumps(dataclasses.asdict(subject), sort_keys=True),
            "minimum_frames": str(minimum_frames),
        }
        for name, value in facts.items():
            stored = self._fact(name)
            if stored is None:
                with self._transaction() as connection:
                    connection.execute("INSERT INTO facts VALUES (?, ?)", (name, value))
            elif stored != value:
                raise UsageError(
                    f"{self.path} was begun with another {name.replace('_', ' ')}",
                    "use the same taps bundle and options, or give another file",
                )

    def _load(self, subject: Subject, minimum_frames: int) -> Statistics:
        statistics = Statistics(subject, minimum_frames)
        try:
            row = self._connection.execute("SELECT content, upto FROM checkpoint").fetchone()
            if row is not None:
                statistics = statistics_file.from_bytes(row[0], str(self.path))
            rows = self._connection.execute("SELECT number, site, day, content, crc FROM minibatch ORDER BY number")
            for number, site, day, content, crc in rows:
                if number != statistics.overall.minibatches or zlib.crc32(content) != crc:
                    raise InputError(f"{self.path} is damaged at minibatch {number}", "give another file")
                statistics.add(minibatch_record.from_bytes(content), (site, day))
                self._since += 1
        except sqlite3.Error as error:
            raise self._explained(error) from error
        return statistics

    def append(
        self, minibatch: Minibatch, place: Place, cursor: Cursor, kept: Sequence[Kept] = (), dropped: Sequence[str] = ()
    ) -> None:
        """Add a minibatch, durably.

        Args:
            minibatch: The next one.
            place: Where and when it was taken.
            cursor: What was read up to its last frame.
            kept: Frames that were stored since.
            dropped: Files of frames that were removed since.

        Raises:
            DeviceError: The disk is full; the store is as before.
        """
        number = self.statistics.overall.minibatches
        content = minibatch_record.to_bytes(minibatch)
        with self._transaction() as connection:
            row = (number, *place, content, zlib.crc32(content))
            connection.execute("INSERT INTO minibatch VALUES (?, ?, ?, ?, ?)", row)
            connection.execute(
                "INSERT OR REPLACE INTO facts VALUES ('cursor', ?)", (json.dumps(dataclasses.asdict(cursor)),)
            )
            self._write_kept(kept, dropped)
        self.statistics.add(minibatch, place)
        self.cursor = cursor
        self._since += 1
        if self._since >= CHECKPOINT_EVERY:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Fold the log: one transaction replaces its minibatches by their sums."""
        content = statistics_file.to_bytes(self.statistics, CHECKPOINT_LEVEL)
        upto = self.statistics.overall.minibatches
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (0, ?, ?)", (upto, content))
            connection.execute("DELETE FROM minibatch WHERE number < ?", (upto,))
        self._since = 0

    def forget(self, files: Sequence[str]) -> None:
        """Take frames out of the list of those kept."""
        with self._transaction():
            self._write_kept((), files)

    def _write_kept(self, kept: Sequence[Kept], dropped: Sequence[str]) -> None:
        for frame in kept:
            row = dataclasses.astuple(frame)
            self._connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", row)
            self.kept[frame.file] = frame
        for file in dropped:
            self._connection.execute("DELETE FROM kept WHERE file = ?", (file,))
            self.kept.pop(file, None)
