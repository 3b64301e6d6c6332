"""Mutants of a database: values of its tables, arrays in them whose checksums fit again, and bytes of its pages."""

from __future__ import annotations

import io
import json
import sqlite3
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import VALUES, packed, places, scrambled

STORED: tuple[Any, ...] = (
    None, 0, 1, -1, 2, 1 << 40, -(1 << 63), (1 << 63) - 1, 0.5, 1e308, -0.0, "", "x", "../x", "é" * 300, b"", b"x",
    "{}", "[]", "[" * 3000, "NaN", "0", "1e400", '{"x": 1}',
)  # fmt: skip


class StoreMutator(Mutator):
    """Makes mutants of one SQLite file."""

    def mutant(self) -> bytes:
        if self._random.random() < 0.3:
            return scrambled(self._data, self._random)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s"
            path.write_bytes(self._data)
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("PRAGMA journal_mode=DELETE")
            for _ in range(self._random.choice((1, 1, 2))):
                self._change(connection)
            connection.close()
            return path.read_bytes()

    def _change(self, connection: sqlite3.Connection) -> None:
        draw = self._random
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = draw.choice([t for t in tables if connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0]])
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column = draw.choice(columns)
        (row,) = draw.choice(connection.execute(f"SELECT rowid FROM {table}").fetchall())
        if draw.random() < 0.1:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            return
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
        other = self._other(value)
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (other, row))
            self._fit_checksums(connection, table, columns, row)
        except sqlite3.Error:
            return  # a value that the table does not take

    def _other(self, value: Any) -> Any:
        draw = self._random
        if isinstance(value, bytes) and draw.random() < 0.8:
            return self._arrays(value) if value[:2] == b"PK" and draw.random() < 0.8 else scrambled(value, draw)
        if isinstance(value, str) and value[:1] == "{" and draw.random() < 0.8:
            return self._json(value)
        if isinstance(value, int) and draw.random() < 0.5:
            return max(-(1 << 63), min((1 << 63) - 1, value + draw.choice((-2, -1, 1, 2, 100))))
        return draw.choice(STORED)

    def _json(self, text: str) -> str:
        parsed = json.loads(text)
        if found := places(parsed):
            holder, key = self._random.choice(found)
            holder[key] = self._random.choice(VALUES)
        return json.dumps(parsed)

    def _arrays(self, content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
            methods = {info.filename: info.compress_type for info in archive.infolist()}
        if members:
            name = self._random.choice(list(members))
            members[name] = (
                self._arrays(members[name]) if members[name][:2] == b"PK" else scrambled(members[name], self._random)
            )
        return packed(members, methods)

    def _fit_checksums(self, connection: sqlite3.Connection, table: str, columns: list[str], row: int) -> None:
        if "crc" in columns and "content" in columns:
            # A number that is the row's own may have changed.
            found = connection.execute(f"SELECT content FROM {table} WHERE rowid = ?", (row,)).fetchone()
            if found is not None and isinstance(found[0], bytes):
                connection.execute(f"UPDATE {table} SET crc = ? WHERE rowid = ?", (zlib.crc32(found[0]), row))
        if table == "part":
            parts = [c for (c,) in connection.execute("SELECT content FROM part ORDER BY number")]
            if all(isinstance(part, bytes) for part in parts):
                connection.execute("UPDATE state SET crc = ?", (zlib.crc32(b"".join(parts)),))
