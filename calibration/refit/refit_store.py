"""The store of a refit: one state, replaced as a whole, from which the same command goes on.

It may come from somebody else, so that everything in it is compared with what the plan's layers need: how far the refit
had come, and every array's type and shape. Sums of a wide layer are larger than a value of the database may be; they
are kept in parts, and no more of them is read than such sums take.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.archive import Allowance
from multigraft.calibration.database import Database
from multigraft.calibration.refit.stage_solver import StageSolver
from multigraft.errors import InputError, UsageError
from multigraft.json_decoding import decode
from multigraft.npz import npz_bytes, read_npz
from multigraft.reading import parse_json
from multigraft.refit.refit_plan import RefitPlan, SolvedGraft, SolvedLayer
from multigraft.tensors.arrays import Array

PART_BYTES = 16 << 20
"""Of a row: far below the largest value that is read."""
_LARGEST_PLACE = 16 << 20
_MOST_FRAMES = 1 << 32
_LEVEL = 1
"""Of zlib: frames wait while it is written."""
_ARRAY_HEAD = 1 << 10
"""Bytes that an array takes beside its elements, at most."""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), place TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE part (number INTEGER PRIMARY KEY, content BLOB NOT NULL);
"""

_OTHER = {"model": "another refit bundle", "source": "another source", "options": "other options"}
"""What a store that cannot be resumed was begun with, by the fact that differs."""


@dataclass(frozen=True)
class Progress:
    """How far a refit has come.

    Attributes:
        frames: Frames of a pass; 0 for a new store.
        passes: Passes that are finished.
        solved: Grafts that are finished.
        layers: Layers of the next graft that are finished.
    """

    frames: int = 0
    passes: int = 0
    solved: tuple[SolvedGraft, ...] = ()
    layers: tuple[SolvedLayer, ...] = ()

    def fits(self, plan: RefitPlan) -> bool:
        """Whether it is one of this plan."""
        planned = plan.grafts[: len(self.solved) + 1]
        names = [
            [layer.layer for layer in layers] for layers in (*(g.layers for g in self.solved), self.layers)
        ]  # fmt: skip
        stages = [[stage.layer for stage in graft.stages] for graft in planned] + [[]] * (len(names) - len(planned))
        return (
            0 < self.frames < _MOST_FRAMES
            and 0 <= self.passes < _MOST_FRAMES
            and [s.target for s in self.solved] == [g.target for g in plan.grafts[: len(self.solved)]]
            and names[:-1] == stages[: len(self.solved)]
            and names[-1] == stages[-1][: len(names[-1])]
        )


class RefitStore(Database):
    """One state, replaced as a whole.

    Args:
        path: The file; made if it is not there.
        facts: What a resumed run has to have in common with the one that began: model, source and options.

    Raises:
        UsageError: Another process has it open, or it was begun with something else.
        InputError: It is damaged or no such file.
        DeviceError: It cannot be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        super().__init__(path, _TABLES)
        try:
            known: dict[str, str] = dict(self._rows("facts", {"name": str, "value": str}, 100))
            for name, value in facts.items():
                if known.get(name, value) != value:
                    raise UsageError(
                        f"{path} was begun with {_OTHER[name]}", "use the same command, or remove it to start anew"
                    )
            if new := [(name, value) for name, value in facts.items() if name not in known]:
                with self._transaction() as connection:
                    connection.executemany("INSERT INTO facts VALUES (?, ?)", new)
        except BaseException:
            self._connection.close()
            raise

    def save(self, progress: Progress, arrays: Mapping[str, Array]) -> None:
        """Replace the state, durably."""
        content = npz_bytes(arrays, _LEVEL)
        parts = [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]
        with self._transaction() as connection:
            connection.execute("DELETE FROM part")
            connection.executemany("INSERT INTO part VALUES (?, ?)", list(enumerate(parts)))
            row = (json.dumps(dataclasses.asdict(progress)), zlib.crc32(content))
            connection.execute("INSERT OR REPLACE INTO state VALUES (0, ?, ?)", row)

    def load(self, plan: RefitPlan, most_bytes: int) -> tuple[Progress, dict[str, Array]]:
        """The state; empty for a new store.

        Args:
            plan: What is solved.
            most_bytes: Bytes of all arrays together, at most.

        Raises:
            InputError: It is damaged, or of another plan.
        """
        for place, crc in self._rows("state", {"place": str, "crc": int}, 1):
            try:
                progress = self._progress(place, plan)
                content = self._content(most_bytes)
                if zlib.crc32(content) != crc:
                    raise ValueError("its content differs")
                return progress, read_npz(content, Allowance(len(content), most_bytes))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{self.path} is damaged ({error})", "remove it to start anew") from error
        return Progress(), {}

    def _progress(self, place: str, plan: RefitPlan) -> Progress:
        if len(place) > _LARGEST_PLACE:
            raise ValueError("its place is too long")
        progress: Progress = decode(Progress, parse_json(place.encode()), "place")
        if not progress.fits(plan):
            raise ValueError("it has come to a place that the plan does not have")
        return progress

    def _content(self, most_bytes: int) -> bytes:
        parts, size = [], 0
        for at, (number, part) in enumerate(
            self._rows("part", {"number": int, "content": bytes}, most_bytes // PART_BYTES + 2, "number")
        ):
            size += len(part)
            if number != at or len(part) > PART_BYTES or size > most_bytes:
                raise ValueError("its parts are no state")
            parts.append(part)
        return b"".join(parts)


def bytes_of(arrays: Mapping[str, Array]) -> int:
    """Bytes that arrays of these shapes take in a file, at most."""
    return sum(array.nbytes + _ARRAY_HEAD for array in arrays.values())


def check_arrays(found: Mapping[str, Array], wanted: Mapping[str, Array], path: Path) -> None:
    """Compare names, types and shapes, and refuse what is not finite.

    Raises:
        InputError: They differ.
    """
    for name in found.keys() | wanted.keys():
        one, other = found.get(name), wanted.get(name)
        if (
            one is None
            or other is None
            or (one.dtype, one.shape) != (other.dtype, other.shape)
            or not np.isfinite(one).all()
        ):
            raise InputError(f"{path} is damaged at {name}", "remove it to start anew")


def restored(solver: StageSolver, arrays: Mapping[str, Array], path: Path) -> None:
    """Let a solver go on where its state was stored.

    Raises:
        InputError: It is the state of another layer, or none.
    """
    check_arrays(arrays, solver.state(is_solved="reals" in arrays), path)
    numbers: list[Any] = arrays["numbers"].tolist()
    rounds, seen, rows = numbers[0], numbers[1], numbers[2:]
    if not 0 <= rounds < solver.rounds or not 0 <= seen <= solver.frames or min(rows) < 0:
        raise InputError(f"{path} is damaged at numbers", "remove it to start anew")
    if (rounds > 0) != ("reals" in arrays):
        raise InputError(f"{path} is damaged at reals", "remove it to start anew")
    solver.restore(arrays)
