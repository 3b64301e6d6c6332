"""The tutorial is followed word for word, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages.sources import DOCS
from multigraft.bundle.bundle import Bundle
from tests.conftest import without_network

TUTORIAL = (DOCS / "tutorial.md").read_text("utf-8")
MOST_PICTURE_BYTES = 200_000


def files_to_save() -> dict[str, str]:
    """What it says to save, by name."""
    return dict(re.findall(r"Save this as `([\w.]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL))


def commands() -> str:
    """What it says to type, in order; the first command that fails ends it."""
    return "set -euo pipefail\n" + "\n".join(re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL))


@pytest.fixture(scope="module")
def followed(onnx2tf_environment: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which it was followed, and what was printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, text in files_to_save().items():
        (folder / name).write_text(text, "utf-8")
    variables = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [*without_network(), "bash", "-c", commands()]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


def test_every_block_is_a_file_a_command_or_what_is_printed() -> None:
    kinds = re.findall(r"^```(\w+)$", TUTORIAL, re.MULTILINE)
    assert set(kinds) == {"python", "toml", "sh", "text"}
    assert len(files_to_save()) == kinds.count("python") + kinds.count("toml")
    assert "    multigraft" not in TUTORIAL


def test_it_reaches_its_end(followed: tuple[Path, str]) -> None:
    folder, printed = followed
    assert (folder / "report" / "report.html").is_file()
    assert (folder / "firmware" / "Makefile").is_file() or (folder / "firmware" / "CMakeLists.txt").is_file()
    answers = [json.loads(line)["answers"] for line in printed.splitlines() if line.startswith('{"frame"')]
    assert [set(answer) for answer in answers] == [{"shape", "side"}] * 5 + [{"side"}] * 5
    assert all(answer["side"]["label"] in ("left", "right") for answer in answers)


def test_it_gives_what_it_promises(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    summary = json.loads((folder / "report" / "summary.json").read_text("utf-8"))
    assert summary["macs"]["bundle"] <= 0.51 * summary["macs"]["separate"]
    segments = {segment.name for segment in Bundle.open(folder / "home.graft").manifest.segments}
    assert segments == {"trunk", "head_shape", "head_side"}
    tasks = json.loads((folder / "pi" / "agreement.json").read_text("utf-8"))["tasks"]
    assert [task["name"] for task in tasks] == ["shape", "side"]
    assert all(task["lower_bound"] >= 0.95 for task in tasks)


def test_pictures_are_small_and_are_those_of_the_commands(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    pictures = [DOCS / name for name in re.findall(r"!\[.*?\]\((.*?)\)", TUTORIAL)]
    assert sum(path.stat().st_size for path in pictures) < MOST_PICTURE_BYTES
    assert [path.name for path in pictures] == ["tutorial-frames.png", "tutorial-pareto.png", "tutorial-similarity.png"]
    for made in ("frames.png", "report/pareto.png", "report/similarity_shape_side.png"):
        assert (folder / made).is_file()
