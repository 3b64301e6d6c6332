"""What is printed: names of hostile files on a terminal, and standard streams that take nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from tests.bundle_builder import build

NAME = "evil\x1b]0;owned\x07[red]\u202e\\[bold]"
TASK = "\x9b2Jgar[red]ment"
COMMAND = [sys.executable, "-m", "multigraft"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose names would act on a terminal."""
    built = build((("garment", "classification"),)).bundle
    task = dataclasses.replace(built.manifest.tasks[0], name=TASK, labels=("\x1b[31m",) * 10)
    contents = {name: built.read(name) for name in (MODEL, MODEL_CARD, GOLDEN_INPUTS, GOLDEN_OUTPUTS)}
    manifest = dataclasses.replace(built.manifest, name=NAME, tasks=(task,))
    return Bundle.create(manifest, contents).write(tmp_path_factory.mktemp("hostile") / "evil.graft")


def on_a_terminal(*argv: str) -> str:
    """All that a command writes to a terminal on both streams."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *argv], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                # The other end is closed.
                break
            said += part
            if not part:
                break
        process.wait()
    os.close(ours)
    return said.decode()


def test_a_terminal_shows_names_and_obeys_none(hostile: Path) -> None:
    said = on_a_terminal("inspect", str(hostile))
    for acting in ("\x1b]0", "\x07", "\u202e", "\x9b", "\x1b[31m"):
        assert acting not in said
    # Rich's markup is no more than letters, too; names are broken over lines.
    assert "evil\\u001b]0;owned\\u0007[red]\\u202e\\[bold]" in said
    letters = "".join(said.split()).replace("classif", "")
    assert "[red]" in said or "[r" in letters
    assert "\x1b[1m" in said, "rich draws tables where it is installed"


def test_a_refusal_that_quotes_a_file_is_one_line_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "multigraft.toml"
    path.write_text('[[task]]\nname = "\\u001B[2J\\nmultigraft: all is well\\u202E"\n', "utf-8")
    done = subprocess.run([*COMMAND, "build", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_json_stays_json(hostile: Path) -> None:
    done = subprocess.run([*COMMAND, "inspect", "--json", str(hostile)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["name"] == NAME or told["manifest"]["name"] == NAME


def test_file_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\x1b.graft"
    done = subprocess.run([*COMMAND, "inspect", name], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "\\udcff\\u001b.graft does not exist" in done.stderr


def shell(command: str, hostile: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, ``$M`` being multigraft and ``$B`` the bundle."""
    # A function, since the interpreter may lie in a folder with a space.
    command = 'multigraft() { "$PYTHON" -m multigraft "$@"; }; ' + command
    known = {**os.environ, "PYTHON": sys.executable, "M": "multigraft", "B": str(hostile), **environment}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=known)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["inspect $B", "inspect --json $B", "--help", "inspect --help", "--version"])
def test_a_full_disk_behind_standard_output_is_said(hostile: Path, command: str, unbuffered: str) -> None:
    done = shell(f"$M {command} > /dev/full", hostile, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert len(said) == 1 and "standard output cannot be written (No space left on device)" in said[0]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(hostile: Path, unbuffered: str) -> None:
    done = shell("$M inspect $B | head -1; exit ${PIPESTATUS[0]}", hostile, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("evil")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$M inspect $B >&-", 0),
        ("$M inspect $B <&- >&- 2>&-", 0),
        ("$M inspect nothing.graft 2>&-", 2),
        ("$M inspect nothing.graft 2>/dev/full", 2),
        ("$M inspect nothing.graft >/dev/full 2>/dev/full", 2),
    ],
)
def test_closed_and_full_streams_leave_no_traceback(hostile: Path, command: str, code: int) -> None:
    done = shell(command, hostile)
    assert done.returncode == code and "Traceback" not in done.stderr and "ignored" not in done.stderr


def test_a_file_that_is_written_never_gets_what_was_meant_for_a_closed_stream(tmp_path: Path, hostile: Path) -> None:
    done = shell(f"$M firmware $B --board mps2-an385 -o {tmp_path}/fw >&- 2>&-", hostile)
    assert done.returncode == 0
    assert "multiply-adds" not in "".join(p.read_text("utf-8") for p in (tmp_path / "fw").rglob("*.c"))


def test_letters_that_an_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    done = shell(f"$M inspect '{tmp_path}/Größe 日.graft'", tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert done.returncode == 2 and "Gr\\xf6\\xdfe \\u65e5.graft does not exist" in done.stderr
