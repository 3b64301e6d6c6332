"""One SQLite file that one process at a time writes, a transaction at a time.

WAL and ``synchronous=FULL``: what was committed survives ``kill -9`` and power loss. The connection locks the file
exclusively: a second process is refused, and the lock dies with its process.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from multigraft.errors import DeviceError, InputError, UsageError

_SUFFIXES = ("", "-wal", "-shm")
"""What SQLite puts behind the name for each of the files that a database is made of."""


class Database:
    """An open and locked file.

    Args:
        path: The file; made if it is not there.
        tables: SQL that makes them where they are not there.

    Raises:
        UsageError: Another process has it open.
        InputError: It is damaged or no such file.
        DeviceError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], tables: str) -> None:
        self.path = Path(path)
        self._connection = self._connect(tables)

    def _connect(self, tables: str) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            # Nothing is locked before the first write.
            connection.execute("BEGIN EXCLUSIVE")
            for statement in filter(str.strip, tables.split(";")):
                connection.execute(statement)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._explained(error) from error
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


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open, if it is there."""
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
