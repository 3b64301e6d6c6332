"""What ``firmware -o`` does to a folder: its own is replaced whole, others are left alone, and nothing is half done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.errors import InputError
from multigraft.firmware_gen.project.folder import ProjectFolder
from multigraft.npz import npz_bytes
from tests.firmware_gen.models import residual

CROWDED = """
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from multigraft.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""No file may be longer than 2,000 bytes: a disk that is full after the first ones. Python itself would leave compiled
modules cut off there, which every later process then loads."""

KILLED = """
import sys, time
from pathlib import Path
from multigraft.firmware_gen.project.whole_folder import whole_folder
with whole_folder(Path(sys.argv[1]), "project.json") as staged:
    (staged / "README.md").write_text("half of it")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "residual.tflite").write_bytes(residual())
    return ["firmware", "residual.tflite", "--board", "mps2-an386", "-o", "fw"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_of_somebody_else_is_left_alone_unless_asked(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fw").mkdir()
    (tmp_path / "fw" / ".git").mkdir()
    assert main(command) == 0, "what is hidden is in nobody's way"
    shutil.rmtree(tmp_path / "fw")
    (tmp_path / "fw" / "src").mkdir(parents=True)
    (tmp_path / "fw" / "src" / "main.c").write_text("int main(void) { return 0; }")
    (tmp_path / "fw" / "README.md").write_text("mine")
    before = contents(tmp_path / "fw")
    capsys.readouterr()
    assert main(command) == 2
    assert "fw holds README.md and is no firmware project" in capsys.readouterr().err
    assert contents(tmp_path / "fw") == before
    assert main([*command, "--force"]) == 0
    assert (tmp_path / "fw" / "README.md").read_text() != "mine" and (tmp_path / "fw" / "src" / "main.c").exists()


def test_its_own_folder_is_replaced_and_what_is_no_longer_part_of_it_goes(command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    fresh = contents(tmp_path / "fw")
    description = json.loads(fresh["project.json"])
    assert set(description["files"]) == set(fresh) - {"project.json"}
    (tmp_path / "fw" / "src" / "mg_old.c").write_text("#error")
    (tmp_path / "fw" / "notes.txt").write_text("mine")
    (tmp_path / "other.txt").write_text("mine")
    description["files"] += ["src/mg_old.c", "../other.txt", str(tmp_path / "other.txt"), "src"]
    (tmp_path / "fw" / "project.json").write_text(json.dumps(description))
    assert main(command) == 0
    assert contents(tmp_path / "fw") == {**fresh, "notes.txt": b"mine"}
    assert (tmp_path / "other.txt").read_text() == "mine"


def test_a_full_disk_leaves_what_was_there(command: list[str], tmp_path: Path) -> None:
    def crowded() -> str:
        done = subprocess.run([sys.executable, "-c", CROWDED, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        return done.stderr

    assert "fw cannot be written: File too large" in crowded()
    assert not (tmp_path / "fw").exists()
    assert main(command) == 0
    before = contents(tmp_path / "fw")
    crowded()
    assert contents(tmp_path / "fw") == before


def test_what_a_killed_process_left_goes_with_the_next(command: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, "fw"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None and killed.stdout.readline() == b"ready\n"
        (left,) = (tmp_path / "fw").iterdir()
        assert main(command) == 0
        assert left.exists(), "another process that lives keeps its files"
        killed.kill()
    assert main(command) == 0
    assert not left.exists() and not [p for p in (tmp_path / "fw").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    "content",
    [b"no arrays", npz_bytes({"elsewhere/x": np.zeros(3, np.int8)}), b""],
    ids=["something else", "another name", "empty"],
)
def test_golden_vectors_that_are_none_are_refused(content: bytes, command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    (tmp_path / "fw" / "golden.npz").write_bytes(content)
    with pytest.raises(InputError, match="fw has no golden vectors"):
        ProjectFolder.open(Path("fw")).golden()


def test_golden_vectors_hold_no_objects(command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    np.savez(tmp_path / "fw" / "golden.npz", **{"input/frame": np.array([print], dtype=object)})
    with pytest.raises(InputError, match="fw has no golden vectors"):
        ProjectFolder.open(Path("fw")).golden()


def test_a_project_says_how_its_boot_loader_comes_onto_the_board(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(residual())
    for board, commands in (
        ("nucleo-f446re-slots", ["multigraft flash . --port PORT --factory", "multigraft flash . --port PORT"]),
        ("nucleo-f446re", ["multigraft flash . --port PORT"]),
    ):
        folder = tmp_path / board
        assert main(["firmware", str(tmp_path / "net.tflite"), "--board", board, "-o", str(folder)]) == 0
        lines = (folder / "README.md").read_text().splitlines()
        assert [line.partition("#")[0].strip() for line in lines if "multigraft flash" in line] == commands
