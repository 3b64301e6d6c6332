"""A store that somebody changed: nothing outside its folder is touched, nothing large is read, none of its SQL runs."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.errors import InputError, MultigraftError
from tests.attack.children import answer_of
from tests.calibration.samples import SUBJECT, minibatch


def made(folder: Path) -> Path:
    path = folder / "s"
    with Store(path, SUBJECT, 8) as store:
        for number in range(3):
            store.append(minibatch(number), ("a", "d"), Cursor(frames_read=number))
            if number < 2:
                store.advance(1)
    return path


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def opened(path: Path) -> int:
    """Exit code of opening it with little memory."""

    def run() -> int:
        try:
            with Store(path, SUBJECT, 8):
                return 0
        except InputError:
            return 2

    return answer_of(run).code


def cursor(**fields: object) -> str:
    value = json.dumps({"source": "", "frames_read": 0, "selection": None, "active_s": 0, **fields})
    return f"INSERT OR REPLACE INTO facts VALUES ('cursor', '{value}')"


HOSTILE = {
    "a path": "INSERT INTO kept VALUES ('../victim', 0.5, 1.0, 10)",
    "a path behind a name": "INSERT INTO kept VALUES ('kept-00000001.pgm/../../victim', 0.5, 1.0, 10)",
    "an infinite margin": "INSERT INTO kept VALUES ('kept-00000001.pgm', 9e999, 1.0, 10)",
    "a name of bytes": "INSERT INTO kept VALUES (x'ff', 0.5, 1.0, 10)",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON minibatch BEGIN DELETE FROM facts; END",
    "a view": "CREATE VIEW v AS SELECT * FROM facts",
    "another table": "CREATE TABLE more (a)",
    "an index": "CREATE INDEX i ON facts (abs(value))",
    "a large minibatch": "UPDATE minibatch SET content = zeroblob(900000000)",
    "a large release": "UPDATE release SET content = zeroblob(900000000)",
    "a minibatch of text": "UPDATE minibatch SET content = 'text'",
    "a site of bytes": "UPDATE minibatch SET site = x'ff'",
    "no release": "UPDATE release SET content = zeroblob(10)",
    "a release of no number": "UPDATE release SET number = -1",
    "a checkpoint of elsewhere": "UPDATE checkpoint SET upto = 99",
    "facts of bytes": "UPDATE facts SET value = x'00' WHERE name = 'cursor'",
    "no place": cursor(frames_read=-1),
    "a place of text": cursor(frames_read="1"),
    "a place with more": cursor(more=1),
    "a wrong selection": cursor(selection={"count": 1, "signature": [[1], [1, 2]]}),
    "deep nesting": "INSERT OR REPLACE INTO facts VALUES ('cursor', '" + "[" * 100_000 + "')",
    "many minibatches": "WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
    "INSERT INTO minibatch SELECT i, 'a', 'd', x'00', 0 FROM n",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_changed_store_is_refused(tmp_path: Path, case: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"here")
    path = made(tmp_path)
    assert opened(path) == 0
    changed(path, HOSTILE[case])
    assert opened(path) == 2 and victim.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "s")
    assert opened(tmp_path / "s") == 2


def test_broken_pages_are_a_sentence(tmp_path: Path) -> None:
    data = made(tmp_path).read_bytes()
    ends = set()
    for seed in range(40):
        broken = bytearray(data)
        for place in range(3):
            broken[(seed * 2_654_435_761 + place * 40_503) % len(data)] ^= 1 + seed
        (tmp_path / "broken").write_bytes(broken)
        try:
            with Store(tmp_path / "broken", SUBJECT, 8) as store:
                ends.add(bool(store.statistics.frames))
        except MultigraftError as error:
            assert str(error).endswith(".")
            ends.add(False)
    assert False in ends
