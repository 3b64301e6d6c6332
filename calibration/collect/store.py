"""The collector's store: what was released last, and an append-only log of minibatches since, in one SQLite file.

Each minibatch is one transaction (WAL, ``synchronous=FULL``) together with the place in the source that was reached, so
that a kill or a power cut costs the minibatch being gathered and nothing else, and a resumed run goes on where the
store ends. The log is folded into a checkpoint now and then. The connection locks the file exclusively: a second
collector is refused, and the lock dies with its process.

The statistics file is an export of the store, a *release*: it is recorded here, with its number and its content, before
it is written anywhere, and the next one is made from it (:mod:`multigraft.statistics.releasing`). What two releases
differ by is therefore never sums over few frames, whenever a run was stopped, killed or resumed.

The store stays on the device. Besides sums it holds 8 x 8 grey means of the frame used last, by which the next one is
compared.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.calibration.collect import minibatch_record
from multigraft.calibration.collect.store_facts import Cursor, Kept, cursor_from_json, kept_from_row
from multigraft.calibration.database import Database
from multigraft.errors import UsageError
from multigraft.statistics import entries, statistics_file
from multigraft.statistics.noise import Bounds, Privacy
from multigraft.statistics.noising import noised
from multigraft.statistics.release import MOST, Release, is_store_id
from multigraft.statistics.releasing import Missing, advanced, missing
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch, Place, Statistics
from multigraft.statistics.subject import Subject

SCHEMA = 3
CHECKPOINT_EVERY = 64
"""Minibatches after which the log is folded: keeps the file and the time to resume small."""

CHECKPOINT_LEVEL = 1
"""The level of zlib's compression: a checkpoint is read by this device alone, and written while frames wait."""

MOST_KEPT = 1 << 20

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE minibatch (number INTEGER PRIMARY KEY, site TEXT NOT NULL, day TEXT NOT NULL, content BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 0), upto INTEGER NOT NULL, least INTEGER NOT NULL,
    content BLOB NOT NULL);
CREATE TABLE release (id INTEGER PRIMARY KEY CHECK (id = 0), number INTEGER NOT NULL, upto INTEGER NOT NULL,
    content BLOB NOT NULL);
CREATE TABLE kept (file TEXT PRIMARY KEY, margin REAL NOT NULL, taken_s REAL NOT NULL, bytes INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Noising:
    """Noise on the releases of a store.

    Attributes:
        privacy: How much.
        bounds: What a frame adds at most.
    """

    privacy: Privacy
    bounds: Bounds

    @property
    def described(self) -> str:
        """What must stay: a store's frames are promised one thing."""
        return json.dumps(
            [dataclasses.asdict(self.privacy), {n: dataclasses.asdict(b) for n, b in self.bounds.items()}]
        )


class Store(Database):
    """One run's minibatches, open and locked.

    Args:
        path: The file; made if it is not there.
        subject: What is measured.
        minimum_frames: Minimum of the statistics.
        minibatch: Frames of a minibatch, None for any. Like the others it stays as it was when the store was made:
            the same frames, dealt out anew, would be other sums.
        site: Where the frames come from, None for any.
        noising: Noise on every release, and what it is for; it stays as it was, too.

    Attributes:
        id: Tells its releases from those of other stores: 16 hex digits.
        cursor: How far collecting had come with the last minibatch.
        kept: Frames kept, by file name.

    Raises:
        UsageError: Another collector has the file open, or it belongs to other networks or settings.
        InputError: It is damaged or no store.
        DeviceError: It cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], subject: Subject, minimum_frames: int, minibatch: int | None = None,
        site: str | None = None, noising: Noising | None = None,
    ) -> None:  # fmt: skip
        super().__init__(path, _TABLES)
        self._subject, self._minimum, self._noising = subject, minimum_frames, noising
        try:
            facts: dict[str, str] = dict(self._rows("facts", {"name": str, "value": str}, 100))
            self.id = self._check(facts, minibatch, site)
            self.cursor = cursor_from_json(facts.get("cursor", "{}"), str(self.path))
            self._load()
            self.kept: dict[str, Kept] = {}
            for row in self._rows("kept", {"file": str, "margin": float, "taken_s": float, "bytes": int}, MOST_KEPT):
                kept = kept_from_row(row, str(self.path))
                self.kept[kept.file] = kept
        except BaseException:
            self._connection.close()
            raise

    def _check(self, facts: dict[str, str], minibatch: int | None, site: str | None) -> str:
        """Compare what has to stay, and note it in a new store; the store's id."""
        wanted: dict[str, Any] = {
            "schema": str(SCHEMA),
            "subject": json.dumps(self._subject.to_json(), sort_keys=True),
            "minimum_frames": str(self._minimum),
            "minibatch": None if minibatch is None else str(minibatch),
            "site": site,
            "noise": None if self._noising is None else self._noising.described,
        }
        if facts and ("noise" in facts) != (wanted["noise"] is not None):
            raise UsageError(
                f"{self.path} was begun {'with' if 'noise' in facts else 'without'} noise",
                "keep to it: give the same --epsilon and --delta, or another file",
            )
        for name, value in wanted.items():
            if name in facts and value is not None and facts[name] != value:
                raise UsageError(
                    f"{self.path} was begun with another {name.replace('_', ' ')}",
                    "use the same taps bundle and options, or give another file",
                )
        if "store" in facts and not is_store_id(facts["store"]):
            raise self._damaged("its name")
        new = {name: value for name, value in wanted.items() if name not in facts and value is not None}
        if "store" not in facts:
            new["store"] = secrets.token_hex(8)
        if new:
            with self._transaction() as connection:
                connection.executemany("INSERT INTO facts VALUES (?, ?)", list(new.items()))
        return str(facts.get("store") or new["store"])

    def _load(self) -> None:
        self._release, self._released_upto = Release(0, 0), 0
        self._released_groups: list[SimilaritySums] = []
        for row in self._rows("release", {"number": int, "upto": int, "content": bytes}, 1):
            released = self._statistics_of(row[2])
            if released.releases.keys() != {self.id} or not 0 < row[0] < MOST or not 0 <= row[1] < MOST:
                raise self._damaged("its release")
            self._note(released, *row[:2])
        self._since, self._least = Statistics(self._subject, self._minimum), 0
        folded = self._released_upto
        for upto, least, content in self._rows("checkpoint", {"upto": int, "least": int, "content": bytes}, 1):
            self._since, folded, self._least = self._statistics_of(content), upto, least
            if self._since.overall.minibatches != folded - self._released_upto or least < 0:
                raise self._damaged("its checkpoint")
        columns = {"number": int, "site": str, "day": str, "content": bytes, "crc": int}
        self._logged = 0
        for number, site, day, content, crc in self._rows("minibatch", columns, 2 * CHECKPOINT_EVERY, "number"):
            if number != self.minibatches or zlib.crc32(content) != crc:
                raise self._damaged(f"minibatch {number}")
            self._add(minibatch_record.from_bytes(content), (site, day))

    def _statistics_of(self, content: bytes) -> Statistics:
        statistics = statistics_file.from_bytes(content, str(self.path))
        if statistics.subject != self._subject or statistics.minimum_frames != self._minimum:
            raise self._damaged("its sums, which are of something else")
        return statistics

    def _note(self, released: Statistics, number: int, upto: int) -> None:
        self._release, self._released_upto = Release(number, released.frames), upto
        self._released_groups = released.groups

    def _add(self, minibatch: Minibatch, place: Place) -> None:
        since = self._since
        is_joined = minibatch.is_rest and since.overall.minibatches
        since.add(minibatch, place, self._release.frames, self._released_upto)
        if not is_joined:
            # Of its last crops no similarity may have been computed.
            frames = min(minibatch.overall.frames, minibatch.similarity.frames)
            self._least = min(self._least or frames, frames)
        self._logged += 1

    @property
    def minibatches(self) -> int:
        """Minibatches of the whole run."""
        return self._released_upto + self._since.overall.minibatches

    @property
    def frames(self) -> int:
        """Frames of the whole run."""
        return self._release.frames + self._since.frames

    @property
    def released_upto(self) -> int:
        """Minibatches of the whole run that the last release was made of."""
        return self._released_upto

    @property
    def release(self) -> Release:
        """The last release; number 0 before the first."""
        return self._release

    @property
    def statistics(self) -> Statistics:
        """All minibatches in the store, released or not."""
        released = self._released()
        if released is None:
            return self._since.merge(Statistics(self._subject, self._minimum))
        if released.noise is not None:
            # With noise and without do not add up; those without stay here.
            released.overall.sums.pop(entries.BOUNDED)
            released.noise = None
        released.releases = {}
        return released.merge(self._since)

    def precision(self) -> float | None:
        """Half width of the widest 95 % interval of a CKA; None while it is not known, and always with noise."""
        if self._noising is not None:
            return None
        light = Statistics(self._subject, self._minimum)
        pairs = zip(self._released_groups or light.groups, self._since.groups, strict=True)
        light.groups = [a.merge(b) for a, b in pairs]
        widths = light.precision()
        return None if widths is None else float(np.max(widths))

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
        content = minibatch_record.to_bytes(minibatch)
        with self._transaction() as connection:
            row = (self.minibatches, *place, content, zlib.crc32(content))
            connection.execute("INSERT INTO minibatch VALUES (?, ?, ?, ?, ?)", row)
            connection.execute(
                "INSERT OR REPLACE INTO facts VALUES ('cursor', ?)", (json.dumps(dataclasses.asdict(cursor)),)
            )
            self._write_kept(kept, dropped)
        self._add(minibatch, place)
        self.cursor = cursor
        if self._logged >= CHECKPOINT_EVERY:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Fold the log: one transaction replaces its minibatches by their sums."""
        with self._transaction():
            self._fold(self._since, self._least, self.minibatches)
        self._logged = 0

    def _fold(self, since: Statistics, least: int, upto: int) -> None:
        content = statistics_file.to_bytes(since, CHECKPOINT_LEVEL)
        self._connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (0, ?, ?, ?)", (upto, least, content))
        self._connection.execute("DELETE FROM minibatch WHERE number < ?", (upto,))

    def missing(self) -> Missing | None:
        """What stands against a release; None where nothing does, or nothing is new."""
        return missing(self._since) if self._since.overall.minibatches else None

    def advance(self, level: int) -> bool:
        """Make and record the next release, if there is enough for one.

        Args:
            level: The level of zlib's compression.

        Returns:
            Whether it was made.
        """
        if not self._since.overall.minibatches or self.missing() is not None:
            return False
        if self._noising is None:
            made, rest = advanced(self._released(), self._since, self._least)
        else:
            made, rest = self._with_noise(self._noising), Statistics(self._subject, self._minimum)
        number, upto = self._release.number + 1, self.minibatches
        made.releases = {self.id: Release(number, made.frames)}
        made.check_privacy()
        content = statistics_file.to_bytes(made, level)
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO release VALUES (0, ?, ?, ?)", (number, upto, content))
            self._fold(rest, 0, upto)
        self._note(made, number, upto)
        self._since, self._least, self._logged = rest, 0, 0
        return True

    def _with_noise(self, noising: Noising) -> Statistics:
        """The last release and a block with noise. What gets none is never released; the next one starts anew."""
        block, _ = advanced(None, self._since, self._least)
        released = self._released()
        added = noised(block, noising.privacy, noising.bounds)
        return added if released is None else released.merge(added)

    def released_content(self) -> bytes | None:
        """The statistics file of the last release; None before the first."""
        for (content,) in self._rows("release", {"content": bytes}, 1):
            return bytes(content)
        return None

    def _released(self) -> Statistics | None:
        content = self.released_content()
        return None if content is None else self._statistics_of(content)

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
