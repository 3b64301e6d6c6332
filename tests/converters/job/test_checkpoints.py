"""Finished steps of a long job: kept, found again, and never trusted where they no longer fit."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from multigraft.converters.job.checkpoints import Steps
from multigraft.errors import InputError, MultigraftError


def test_a_step_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    done: list[str] = []

    def do(result: str) -> bytes:
        done.append(result)
        return result.encode()

    folder = tmp_path / "home.graft.steps"
    assert Steps(folder).get("fit", [b"weights", "seed 1"], lambda: do("a")) == b"a"
    assert Steps(folder).get("fit", [b"weights", "seed 1"], lambda: do("never")) == b"a"
    assert Steps(folder).get("fit", [b"weights", "seed 2"], lambda: do("b")) == b"b"
    assert Steps(folder).get("fit", [b"weightss", "eed 1"], lambda: do("c")) == b"c"
    assert Steps(folder).get("other", [b"weights", "seed 1"], lambda: do("d")) == b"d"
    assert done == ["a", "b", "c", "d"]
    Steps(folder).clear()
    assert not folder.exists()


def test_a_damaged_step_is_done_again(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "steps")
    steps.get("fit", [b"x"], lambda: b"right")
    (path,) = steps.folder.iterdir()
    for damaged in (b"", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"T"):
        path.write_bytes(damaged)
        assert steps.get("fit", [b"x"], lambda: b"right") == b"right"
    assert steps.reused == 0
    assert steps.get("fit", [b"x"], lambda: b"wrong") == b"right"
    assert steps.reused == 1


def test_a_step_that_cannot_be_stored_still_gives_its_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Steps(tmp_path / "file").get("fit", [b"x"], lambda: b"right") == b"right"
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise KeyboardInterrupt

    steps = Steps(tmp_path / "steps")
    with pytest.raises(KeyboardInterrupt):
        steps.get("fit", [b"x"], fail)
    assert not steps.folder.exists()


@pytest.mark.parametrize(
    ("end", "is_kept"), [(None, False), (InputError("bad", "mend it"), False), (KeyboardInterrupt(), True)]
)
def test_only_an_interruption_keeps_the_steps(tmp_path: Path, end: BaseException | None, is_kept: bool) -> None:
    steps = Steps(tmp_path / "steps")
    with contextlib.suppress(InputError, KeyboardInterrupt), steps.cleared_after(MultigraftError):
        steps.get("fit", [b"x"], lambda: b"right")
        if end is not None:
            raise end
    assert steps.folder.exists() == is_kept
