"""Finished steps of a long job: kept, reused, and never trusted where they no longer fit."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from multigraft.agreement import agreement
from multigraft.converters.graft import candidate
from multigraft.converters.job import checkpoints as module
from multigraft.converters.job.checkpoints import CODE_FOLDERS, Checkpoints, code_digest
from multigraft.errors import InputError
from multigraft.refit import ridge


def test_a_step_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    done: list[str] = []

    def do(result: str) -> bytes:
        done.append(result)
        return result.encode()

    folder = tmp_path / "home.graft.steps"
    assert Checkpoints(folder).get("fit", [b"weights", "seed 1"], lambda: do("a")) == b"a"
    assert Checkpoints(folder).get("fit", [b"weights", "seed 1"], lambda: do("never")) == b"a"
    assert Checkpoints(folder).get("fit", [b"weights", "seed 2"], lambda: do("b")) == b"b"
    assert Checkpoints(folder).get("fit", [b"weightss", "eed 1"], lambda: do("c")) == b"c"
    assert Checkpoints(folder).get("other", [b"weights", "seed 1"], lambda: do("d")) == b"d"
    assert done == ["a", "b", "c", "d"]
    Checkpoints(folder).clear()
    assert not folder.exists()


def test_a_damaged_step_is_done_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "steps")
    checkpoints.get("fit", [b"x"], lambda: b"right")
    (path,) = checkpoints.folder.iterdir()
    for damaged in (b"", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"T"):
        path.write_bytes(damaged)
        assert checkpoints.get("fit", [b"x"], lambda: b"right") == b"right"
    assert checkpoints.reused == 0
    assert checkpoints.get("fit", [b"x"], lambda: b"wrong") == b"right"
    assert checkpoints.reused == 1


def test_a_step_that_cannot_be_stored_still_gives_its_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Checkpoints(tmp_path / "file").get("fit", [b"x"], lambda: b"right") == b"right"
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path / "steps")
    with pytest.raises(KeyboardInterrupt):
        checkpoints.get("fit", [b"x"], fail)
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize(
    ("end", "is_kept"), [(None, False), (InputError("bad", "mend it"), True), (KeyboardInterrupt(), True)]
)
def test_only_success_clears_the_steps(tmp_path: Path, end: BaseException | None, is_kept: bool) -> None:
    checkpoints = Checkpoints(tmp_path / "home.graft.steps")
    with contextlib.suppress(InputError, KeyboardInterrupt), checkpoints.cleared_on_success():
        checkpoints.get("fit", [b"x"], lambda: b"right")
        if end is not None:
            raise end
    assert checkpoints.folder.exists() == is_kept
    assert Checkpoints(checkpoints.folder).get("fit", [b"x"], lambda: b"again") == (b"right" if is_kept else b"again")


def test_the_steps_used_longest_ago_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 400)
    checkpoints = Checkpoints(tmp_path / "steps")
    for age, name in ((3, b"first"), (2, b"second"), (1, b"third")):
        before = set(tmp_path.glob("steps/*"))
        checkpoints.get("fit", [name], lambda: bytes(100))
        (path,) = set(tmp_path.glob("steps/*")) - before
        os.utime(path, (time.time() - age, time.time() - age))
    checkpoints.get("fit", [b"first"], lambda: b"never")
    checkpoints.get("fit", [b"fourth"], lambda: bytes(100))
    assert checkpoints.reused == 1
    assert sum(path.stat().st_size for path in checkpoints.folder.iterdir()) <= 400
    for name in (b"first", b"third", b"fourth"):
        assert checkpoints.get("fit", [name], lambda: b"again") == bytes(100)
    assert checkpoints.get("fit", [b"second"], lambda: b"again") == b"again"


def test_many_that_store_at_the_same_time_keep_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As threads that wait for the workers of a cluster do, and two builds of one output."""
    monkeypatch.setattr(module, "MAX_BYTES", 5000)
    size, at_once = 1000, 12
    barrier = threading.Barrier(at_once)
    most = 0

    def do() -> bytes:
        barrier.wait()
        return bytes(size)

    def held() -> int:
        return sum(path.stat().st_size for path in checkpoints.folder.iterdir())

    checkpoints = Checkpoints(tmp_path / "steps")
    with ThreadPoolExecutor(at_once) as pool:
        for number in range(10):
            list(pool.map(lambda i: checkpoints.get("fit", [str((number, i))], do), range(at_once)))  # noqa: B023
            most = max(most, held())
    assert size < most <= 5000


def test_a_step_that_another_process_has_just_removed_is_no_obstacle(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "steps")
    checkpoints.get("fit", [b"x"], lambda: b"right")
    (path,) = checkpoints.folder.iterdir()
    path.with_name(f"fit-{'0' * 32}").symlink_to("what is listed and not there")
    assert checkpoints.get("fit", [b"y"], lambda: b"stored") == b"stored"
    assert checkpoints.get("fit", [b"y"], lambda: b"again") == b"stored"


def test_forgotten_steps_go_when_another_job_starts_beside_them(tmp_path: Path) -> None:
    old = time.time() - (module.STALE_DAYS + 1) * 86_400
    for name in ("old.graft", "fresh.graft", "mixed.graft", "mine.graft"):
        Checkpoints(tmp_path / f"{name}.steps").get("fit", [b"x"], lambda: b"right")
    (tmp_path / "mixed.graft.steps" / "notes.txt").write_text("not a step")
    for name in ("old.graft", "mixed.graft", "mine.graft"):
        for path in (*(tmp_path / f"{name}.steps").iterdir(), tmp_path / f"{name}.steps"):
            os.utime(path, (old, old))
    checkpoints = Checkpoints(tmp_path / "mine.graft.steps")
    with checkpoints.cleared_on_success():
        assert {path.name for path in tmp_path.iterdir()} == {f"{n}.graft.steps" for n in ("fresh", "mixed", "mine")}
        assert checkpoints.get("fit", [b"x"], lambda: b"again") == b"right"
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.graft.steps" for n in ("fresh", "mixed")}


def _code(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_another_version_of_the_code_does_every_step_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {"graft/refit.py": "STRENGTH = 1\n"}
    for name, code in (("old", text), ("same", text), ("new", {"graft/refit.py": "STRENGTH = 2\n"})):
        monkeypatch.setattr(module, "CODE_FOLDERS", (_code(tmp_path / name, code),))
        checkpoints = Checkpoints(tmp_path / "steps")
        assert checkpoints.get("fit", [b"x"], name.encode) == (b"new" if name == "new" else b"old")
        assert checkpoints.reused == (name == "same")


@pytest.mark.parametrize(
    "change", [{"refit.py": "x = 2\n"}, {"deeper/room/ridge.py": "y = 2\n"}, {"added.py": "z = 1\n"}], ids=str
)
def test_every_file_is_in_the_digest_of_the_code(tmp_path: Path, change: dict[str, str]) -> None:
    text = {"refit.py": "x = 1\n", "deeper/room/ridge.py": "y = 1\n"}
    before = code_digest((_code(tmp_path / "before", text),))
    assert code_digest((_code(tmp_path / "again", text),)) == before
    assert code_digest((_code(tmp_path / "after", text | change),)) != before
    assert code_digest((_code(tmp_path / "beside", change), tmp_path / "before")) != before


@pytest.mark.parametrize("decisive", [candidate, agreement, ridge], ids=lambda m: str(m.__name__))
def test_the_code_that_decides_results_is_digested(decisive: ModuleType) -> None:
    path = Path(str(decisive.__file__))
    assert any(path in folder.rglob("*.py") for folder in CODE_FOLDERS)
