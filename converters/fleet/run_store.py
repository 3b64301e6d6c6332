"""What a run over many files has found so far: one SQLite file beside the output, from which the next run goes on.

Every part is written in one transaction: sums, rows and which files are in them are of one moment.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multigraft import files
from multigraft.converters import urls
from multigraft.converters.fleet.head import Head
from multigraft.converters.fleet.parts import Part, Row
from multigraft.converters.job.checkpoints import CODE_FOLDERS, code_digest
from multigraft.converters.urls import Entry
from multigraft.errors import UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.release import releases_from_json, releases_to_json
from multigraft.statistics.statistics import Statistics

SUFFIX = ".combining"

_TABLES = """
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS file (url TEXT PRIMARY KEY, size INTEGER, version TEXT, state TEXT, reason TEXT, digest TEXT,
  subject TEXT, crops TEXT, networks TEXT, frames INTEGER, releases TEXT, key TEXT, form TEXT, variance REAL);
CREATE TABLE IF NOT EXISTS place (url TEXT, site TEXT, day TEXT, PRIMARY KEY (url, site, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tally (site TEXT, day TEXT, url TEXT, content BLOB, PRIMARY KEY (site, day, url))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS form (name TEXT PRIMARY KEY, form TEXT);
CREATE TABLE IF NOT EXISTS sum (key TEXT, form TEXT, content BLOB, PRIMARY KEY (key, form));
"""
_LEVEL = 1
"""Of zlib, for sums that are written over and over."""

LISTED, KNOWN, CHOSEN, SUMMED = "listed", "known", "chosen", "summed"
"""What a file has become: its head is to be read, was read; it is to be added up, was."""
ASIDE, UNREAD, EXCLUDED = "aside", "unread", "excluded"
"""It does not count, could not be read, shall not count."""


class RunStore:
    """The file.

    Args:
        path: Where it is; made if it is not there, and anew if it is of another version of this package.

    Attributes:
        revived: Addresses of files that could not be read by the run before, and are tried again.
        headless: Those of them of which not even the head is known.

    Raises:
        UsageError: Another process has it open, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revived: set[str] = set()
        self.headless: set[str] = set()
        self._sums: dict[tuple[str, str], Statistics] = {}
        try:
            try:
                self._open()
            except (sqlite3.DatabaseError, UsageError) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
                self.remove()
                self._open()
        except (sqlite3.Error, OSError) as error:
            self.close()
            if "locked" in str(error):
                raise UsageError(f"{path} is used by another process", "let it end, or give another output") from error
            raise UsageError(f"{path} cannot be written: {error}", "choose an existing folder you may write") from error

    def _open(self) -> None:
        # Addresses in it may hold passwords. What SQLite puts beside it is as readable as it is.
        self.path.touch(mode=0o600)
        self._db = sqlite3.connect(self.path, timeout=0.5, isolation_level=None)
        self._db.execute("PRAGMA trusted_schema=OFF")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        code = code_digest(CODE_FOLDERS).hex()
        if (self.note("code") or code) != code:
            self.close()
            raise UsageError(f"{self.path} is of another version", "remove it")
        self.set_note("code", code)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(self.path, error) from error

    def close(self) -> None:
        """Close it: a later run goes on from it."""
        if hasattr(self, "_db"):
            self._db.close()

    def remove(self) -> None:
        """Close and remove it: there is nothing to go on with."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        self._db.execute("BEGIN")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def rows(self, question: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The answers to a question in SQL, one by one; a second question may be asked meanwhile."""
        yield from self._db.cursor().execute(question, values)

    def count(self, state: str) -> int:
        """Files of a state."""
        ((number,),) = self.rows("SELECT count(*) FROM file WHERE state = ?", state)
        return int(number)

    def note(self, name: str) -> str | None:
        """What was noted under a name."""
        for (value,) in self.rows("SELECT value FROM note WHERE name = ?", name):
            return str(value)
        return None

    def set_note(self, name: str, value: str) -> None:
        """Note something."""
        self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def list_files(self, entries: Iterable[Entry], asked: str) -> None:
        """Take the list of files; what is known of those that are as they were stays known.

        Args:
            entries: All files.
            asked: Everything else that decides the result. Where that or the list is another than before, adding up
                starts anew.
        """
        with self.transaction() as db:
            db.execute("CREATE TEMP TABLE now (url TEXT PRIMARY KEY, size INTEGER, version TEXT)")
            db.executemany("INSERT OR IGNORE INTO now VALUES (?, ?, ?)", ((e.url, e.size, e.version) for e in entries))
            same = "SELECT url, size, version FROM now"
            ((other,),) = db.execute(f"SELECT count(*) FROM (SELECT url, size, version FROM file EXCEPT {same})")
            ((new,),) = db.execute(f"SELECT count(*) FROM ({same} EXCEPT SELECT url, size, version FROM file)")
            if other or new or self.note("asked") != asked:
                db.execute(f"DELETE FROM file WHERE (url, size, version) NOT IN ({same})")
                db.execute("DELETE FROM place WHERE url NOT IN (SELECT url FROM file)")
                self._forget_sums(db)
                db.execute("UPDATE file SET state = ?, reason = NULL WHERE digest IS NULL", (LISTED,))
                db.execute(f"INSERT OR IGNORE INTO file (url, size, version, state) SELECT *, '{LISTED}' FROM ({same})")
                self.set_note("asked", asked)
            unread = list(db.execute("SELECT url, digest IS NULL FROM file WHERE state = ?", (UNREAD,)))
            self.revived = {url for url, _ in unread}
            self.headless = {url for url, is_headless in unread if is_headless}
            db.execute(
                f"UPDATE file SET state = CASE WHEN digest IS NULL THEN '{LISTED}' ELSE '{KNOWN}' END WHERE state = ?",
                (UNREAD,),
            )
            db.execute("DROP TABLE now")

    def start_anew(self) -> None:
        """Forget the sums: files whose heads are known are to be chosen again."""
        self._sums.clear()
        with self.transaction() as db:
            self._forget_sums(db)

    def _forget_sums(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM note WHERE name = 'subject'")
        for table in ("tally", "form", "sum"):
            db.execute(f"DELETE FROM {table}")
        db.execute("UPDATE file SET state = ?, reason = NULL WHERE digest IS NOT NULL", (KNOWN,))

    def add_heads(self, heads: dict[str, Head], aside: dict[str, str], unread: Collection[str]) -> None:
        """Note what heads say, and which files do not count, and why."""
        with self.transaction() as db:
            for url, head in heads.items():
                db.execute(
                    "UPDATE file SET state = ?, digest = ?, subject = ?, crops = ?, networks = ?, frames = ?, "
                    "releases = ? WHERE url = ?",
                    (
                        KNOWN, head.digest, head.subject, head.crops, ", ".join(head.networks), head.frames,
                        json.dumps(releases_to_json(head.releases)), url,
                    ),
                )  # fmt: skip
                db.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?)", ((url, *place) for place in head.places))
            self._set_aside(aside, unread)

    def set_aside(self, aside: dict[str, str]) -> None:
        """Note which files do not count, and why."""
        with self.transaction():
            self._set_aside(aside, ())

    def _set_aside(self, aside: dict[str, str], unread: Collection[str]) -> None:
        self._db.executemany(
            "UPDATE file SET state = ?, reason = ? WHERE url = ?",
            ((UNREAD if url in unread else ASIDE, reason, url) for url, reason in aside.items()),
        )

    def set_state(self, state: str, addresses: Iterable[str]) -> None:
        """Note what became of files."""
        with self.transaction() as db:
            db.executemany("UPDATE file SET state = ? WHERE url = ?", ((state, url) for url in addresses))

    def set_keys(self, keys: Iterable[tuple[str, str]]) -> None:
        """Note the key of the sum that each file goes to: pairs of address and key."""
        with self.transaction() as db:
            db.executemany("UPDATE file SET key = ? WHERE url = ?", ((key, url) for url, key in keys))

    def add(self, part: Part) -> None:
        """Add what came of some files."""
        for place, sums in part.sums.items():
            before = self._sums.get(place) or self._stored(place)
            self._sums[place] = sums if before is None else before.merge(sums)
        with self.transaction() as db:
            for key, form in part.sums:
                content = statistics_file.to_bytes(self._sums[key, form], _LEVEL)
                db.execute("INSERT OR REPLACE INTO sum VALUES (?, ?, ?)", (key, form, content))
            db.executemany("INSERT OR IGNORE INTO form VALUES (?, ?)", part.forms.items())
            db.executemany(
                "UPDATE file SET state = ?, form = ?, variance = ? WHERE url = ?",
                ((SUMMED, form, part.variances.get(url), url) for url, form in part.form_of.items()),
            )
            db.executemany(
                "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?)",
                ((row.site, row.day, row.url, row.tally) for row in part.rows),
            )
            self._set_aside(part.aside, part.unread)
        while len(self._sums) > _HELD:
            del self._sums[next(iter(self._sums))]

    def _stored(self, place: tuple[str, str]) -> Statistics | None:
        for (content,) in self.rows("SELECT content FROM sum WHERE key = ? AND form = ?", *place):
            return statistics_file.from_bytes(content, str(self.path))
        return None

    def sum_of(self, key: str, form: str) -> Statistics:
        """A sum."""
        found = self._sums.get((key, form)) or self._stored((key, form))
        assert found is not None, (key, form)
        return found

    def heads(self, state: str) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
        """Address, digest, frames and releases of files of a state, in the order of their addresses."""
        question = "SELECT url, digest, frames, releases FROM file WHERE state = ? ORDER BY url"
        for url, digest, frames, releases in self.rows(question, state):
            yield url, digest, frames, releases_from_json(json.loads(releases))

    def tallies(self) -> Iterator[Row]:
        """What the files that count say of sites and days, in the order of sites, days and addresses."""
        question = (
            "SELECT tally.url, site, day, content FROM tally JOIN file ON file.url = tally.url WHERE state = ? "
            "ORDER BY site, day, tally.url"
        )
        for row in self.rows(question, SUMMED):
            yield Row(*row)


_HELD = 4
"""Sums that are kept in memory."""


def unusable(path: Path, error: sqlite3.Error) -> UsageError:
    """The error where a store is damaged, or its disk is full."""
    return UsageError(
        f"{path}, from which the next run goes on, cannot be used: {error}",
        "free some space on its disk; where that does not help, remove it",
    )


def store_of(output: str) -> Path:
    """Where the store of a run lies: beside an output here, in the current folder for one elsewhere."""
    if urls.is_url(output):
        return Path(f"{output.rstrip('/').rpartition('/')[2]}-{files.sha256_of(output.encode())[:8]}{SUFFIX}")
    return Path(output.rstrip("/") + SUFFIX)
