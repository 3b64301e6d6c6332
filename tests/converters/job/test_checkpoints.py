"""Finished steps of a long job: kept, reused, and never trusted where they no longer fit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import ModuleType

import pytest

from multigraft.agreement import agreement
from multigraft.converters.graft import candidate
from multigraft.converters.job import checkpoints as module
from multigraft.converters.job.checkpoints import CODE_FOLDERS, Checkpoints, code_digest
from multigraft.errors import InputError, MultigraftError
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
    ("end", "is_kept"), [(None, False), (InputError("bad", "mend it"), False), (KeyboardInterrupt(), True)]
)
def test_only_an_interruption_keeps_the_steps(tmp_path: Path, end: BaseException | None, is_kept: bool) -> None:
    checkpoints = Checkpoints(tmp_path / "steps")
    with contextlib.suppress(InputError, KeyboardInterrupt), checkpoints.cleared_after(MultigraftError):
        checkpoints.get("fit", [b"x"], lambda: b"right")
        if end is not None:
            raise end
    assert checkpoints.folder.exists() == is_kept


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
