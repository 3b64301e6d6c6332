"""One SQLite file that one process at a time writes, a transaction at a time.

WAL and ``synchronous=FULL``: what was committed survives ``kill -9`` and power loss. The connection locks the file
exclusively: a second process is refused, and the lock dies with its process.

The file may come from somebody else. SQLite runs what a schema holds (triggers, views, expressions of indices and
columns), so that the schema has to be exactly the one asked for before anything is read; values beyond a size are never
read; every type is looked at by whoever reads.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multigraft.errors import DeviceError, InputError, UsageError

LARGEST_VALUE = 64 << 20
"""Bytes of a value, where nothing else is said."""

_SUFFIXES = ("", "-wal", "-shm")
"""What SQLite puts behind the name for each of the files that a database is made of."""

_SETTINGS = (
    "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "locking_mode=EXCLUSIVE", "journal_mode=WAL",
    "synchronous=FULL",
)  # fmt: skip
"""Not trusted before the schema is read for the first time."""

_SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY name LIMIT 50"


class Database:
    """An open and locked file.

    Args:
        path: The file; made if it is not there.
        tables: SQL that makes them where they are not there.
        largest_value: Bytes of the largest value that is read or written.

    Raises:
        UsageError: Another process has it open.
        InputError: It is damaged or no such file.
        DeviceError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], tables: str, largest_value: int = LARGEST_VALUE) -> None:
        self.path = Path(path)
        self._connection = self._connect(tables, largest_value)

    def _connect(self, tables: str, largest_value: int) -> sqlite3.Connection:
        for suffix in _SUFFIXES:
            path = self.path.with_name(self.path.name + suffix)
            # SQLite would wait for the other end of a pipe.
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise InputError(f"{path} is no regular file", "give another file")
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, largest_value)
            if (defensive := getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE", None)) is not None:
                # Python 3.12 and newer.
                configured: Any = connection
                configured.setconfig(defensive)
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}")
            # Nothing is locked before the first write.
            connection.execute("BEGIN EXCLUSIVE")
            found = connection.execute(_SCHEMA).fetchall()
            if not found:
                for statement in filter(str.strip, tables.split(";")):
                    connection.execute(statement)
            elif found != _schema_of(tables):
                raise InputError(
                    f"{self.path} is no store of this version of multigraft, or somebody changed it",
                    "give another file, or remove it to start anew",
                )
            connection.execute("COMMIT")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._explained(error) from error
            raise
        return connection

    def _explained(self, error: sqlite3.Error) -> Exception:
        text = str(error)
        if "locked" in text:
            return UsageError(f"{self.path} is in use by another collector", "stop it first, or give another file")
        if "full" in text or "I/O" in text or "readonly" in text or "unable to open" in text:
            return DeviceError(
                f"{self.path} cannot be written ({text}); what was collected is intact",
                "free some space and run the same command again",
            )
        return InputError(f"{self.path} is damaged or no store of a collector ({text})", "give another file")

    def _damaged(self, where: str) -> InputError:
        return InputError(f"{self.path} is damaged at {where}", "give another file")

    def _rows(self, table: str, columns: dict[str, type], most: int, order: str = "") -> Iterator[list[Any]]:
        """Rows of a table, whose types are as said.

        Args:
            table: Its name.
            columns: Name to ``int``, ``float``, ``str`` or ``bytes``.
            most: Rows that there may be.
            order: A column to sort by.

        Raises:
            InputError: There are more, one is of another type, too large, or cannot be read.
        """
        query = f"SELECT {', '.join(columns)} FROM {table}{f' ORDER BY {order}' if order else ''} LIMIT {most + 1}"
        kinds = tuple(columns.values())
        try:
            for number, row in enumerate(self._connection.execute(query)):
                if number == most or tuple(map(type, row)) != kinds:
                    raise self._damaged(f"row {number} of {table}")
                yield list(row)
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._explained(error) from error


def _schema_of(tables: str) -> list[tuple[str, str, str | None]]:
    """What SQLite says of a file with these tables and nothing else."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for statement in filter(str.strip, tables.split(";")):
            connection.execute(statement)
        return connection.execute(_SCHEMA).fetchall()
    finally:
        connection.close()


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open, if it is there."""
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
