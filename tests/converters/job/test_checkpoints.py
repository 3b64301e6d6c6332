"""Finished steps of a long job: kept, found again, and never trusted where they no longer fit."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.errors import InputError, MultigraftError


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
