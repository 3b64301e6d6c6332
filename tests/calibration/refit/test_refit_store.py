"""The refit's store: sums of any size come back, and what somebody changed in it is refused before it is used."""

from __future__ import annotations

import json
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.calibration.refit import refit_store
from multigraft.calibration.refit.refit_store import Progress, RefitStore, bytes_of, restored
from multigraft.calibration.refit.stage_solver import StageSolver
from multigraft.errors import InputError, UsageError
from multigraft.npz import npz_bytes
from multigraft.refit.linear_layer import Dense, Geometry
from multigraft.refit.refit_plan import PlannedGraft, RefitPlan, SolvedGraft, SolvedLayer, Stage
from multigraft.tensors.arrays import Array

STAGES = tuple(Stage(name, Geometry("dense", (6, 4)), "x", "y") for name in ("one", "two"))
GRAFTS = tuple(
    PlannedGraft(target, "donor", "a", "b", "refit", "relative", "other", ("y",), ("z",), STAGES, {})
    for target in ("first", "second")
)
PLAN = RefitPlan(GRAFTS, {})
LAYERS = tuple(SolvedLayer(stage.layer, 0.1, 0.2, 30) for stage in STAGES)
SOLVED = SolvedGraft("first", "donor", "a", "b", "refit", "relative", LAYERS, 40, None, {"value": 0.5})
PROGRESS = Progress(40, 3, (SOLVED,), LAYERS[:1])
FACTS = {"model": "m", "source": "s", "options": "o"}
MOST = 1 << 20


def solver() -> StageSolver:
    weight = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return StageSolver(STAGES[0], Dense(STAGES[0].geometry, weight, None), 40, 0)


def summed(frames: int = 7) -> StageSolver:
    made, rng = solver(), np.random.default_rng(1)
    for _ in range(frames):
        made.add({"x": rng.normal(size=(1, 6)).astype(np.float32), "y": rng.normal(size=(1, 4)).astype(np.float32)})
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with RefitStore(tmp_path / "s", FACTS) as store:
        store.save(PROGRESS, summed().state())
    return tmp_path / "s"


def loaded(path: Path) -> tuple[Progress, dict[str, Array]]:
    with RefitStore(path, FACTS) as store:
        return store.load(PLAN, MOST)


def changed(path: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def test_a_state_comes_back_in_as_many_parts_as_it_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, arrays = loaded(path)
    assert progress == PROGRESS
    again = solver()
    restored(again, arrays, path)
    assert {k: v.tolist() for k, v in again.state().items()} == {k: v.tolist() for k, v in summed().state().items()}
    monkeypatch.setattr(refit_store, "PART_BYTES", 100)
    with RefitStore(path, FACTS) as store:
        for frames in (9, 8):
            store.save(PROGRESS, summed(frames).state())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) > 3, max(length(content)) FROM part").fetchone() == (1, 100)
    connection.close()
    assert loaded(path)[1]["numbers"].tolist() == summed(8).state()["numbers"].tolist()


def test_a_new_store_is_empty_and_one_of_another_command_is_refused(tmp_path: Path, path: Path) -> None:
    assert loaded(tmp_path / "new") == (Progress(), {})
    with pytest.raises(UsageError, match="begun with another source"):
        RefitStore(path, FACTS | {"source": "t"})


def place(**fields: object) -> str:
    text = json.dumps({"frames": 40, "passes": 0, "solved": [], "layers": [], **fields})
    return f"UPDATE state SET place = '{text}'"


LAYER = {"layer": "one", "strength": 0.1, "relative_error": 0.1, "rows": 3}
GRAFT = {
    "target": "first", "donor": "donor", "donor_point": "a", "target_point": "b", "method": "refit",
    "relation": "relative", "layers": [LAYER, LAYER | {"layer": "two"}], "frames": 40,
}  # fmt: skip
HOSTILE = {
    "no JSON": "UPDATE state SET place = '{'",
    "nested without end": "UPDATE state SET place = '" + "[" * 100_000 + "'",
    "a list": "UPDATE state SET place = '[]'",
    "bytes": "UPDATE state SET place = x'7b7d'",
    "no frames": place(frames=0),
    "frames of text": place(frames="40"),
    "frames without end": place(frames=1 << 70),
    "passes below none": place(passes=-1),
    "a layer that is not planned": place(layers=[LAYER | {"layer": "other"}]),
    "layers in another order": place(layers=[LAYER | {"layer": "two"}]),
    "a layer with more": place(layers=[LAYER, LAYER | {"layer": "two"}, LAYER]),
    "a layer of text": place(layers=["one"]),
    "a graft of elsewhere": place(solved=[GRAFT | {"target": "second"}]),
    "a graft without its layers": place(solved=[GRAFT | {"layers": []}]),
    "grafts that are more": place(solved=[GRAFT, GRAFT | {"target": "second"}, GRAFT]),
    "no part": "DELETE FROM part",
    "parts of no order": "UPDATE part SET number = 1",
    "a large part": "UPDATE part SET content = zeroblob(20000000)",
    "parts without end": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
    "INSERT INTO part SELECT i, zeroblob(300000) FROM n",
    "a part of text": "UPDATE part SET content = 'text'",
    "another content": "UPDATE part SET content = x'00'",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_changed_state_is_refused(path: Path, case: str) -> None:
    changed(path, HOSTILE[case])
    with pytest.raises(InputError, match="is damaged"):
        loaded(path)


def other_state(path: Path, arrays: dict[str, Array], most: int = MOST) -> None:
    """Put in other arrays, whose checksum fits, and go on."""
    content = npz_bytes(arrays)
    changed(path, "UPDATE part SET content = ?", content)
    changed(path, "UPDATE state SET crc = ?", zlib.crc32(content))
    with RefitStore(path, FACTS) as store:
        restored(solver(), store.load(PLAN, most)[1], path)


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": np.array([0, -1, 0, 0, 0])},
        {"numbers": np.array([0, 41, 0, 0, 0])},
        {"numbers": np.array([1, 0, 0, 0, 0])},
        {"numbers": np.array([0, 0, 0, 0, -1])},
        {"numbers": np.zeros(4, np.int64)},
        {"fit/xx": np.zeros((1, 6, 5))},
        {"fit/xx": np.zeros((1, 6, 6), np.float32)},
        {"held/y": np.full((1, 4), np.nan)},
        {"more": np.zeros(3)},
        {"reals": np.zeros(3)},
    ],
    ids=lambda change: " ".join(f"{k} {v.shape}" for k, v in change.items()),
)
def test_sums_of_another_layer_are_refused(path: Path, change: dict[str, Array]) -> None:
    state = summed().state()
    other_state(path, state)
    with pytest.raises(InputError, match="is damaged at"):
        other_state(path, state | change)
    with pytest.raises(InputError, match="is damaged at"):
        other_state(path, {k: v for k, v in state.items() if k not in change} | {"x": np.zeros(1)})


def test_no_more_is_unpacked_than_such_sums_take(path: Path) -> None:
    state = summed().state()
    other_state(path, state, bytes_of(state))
    with pytest.raises(InputError, match="unpacks to more than"):
        other_state(path, state | {"more": np.zeros(1 << 20)}, bytes_of(state))
