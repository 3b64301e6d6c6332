"""The same settings and networks give the same bytes, wherever and however a build runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft import Bundle
from tests.converters.graft.networks import residual_network
from tests.core.cli.build_project import write_project

REST = '[budget]\nmin_agreement = 0.1\n[graft]\nfit_frames = 200\nshare = { second = "block" }\n'
"""The networks differ, so that the second is refitted: sums of floats, which the number of threads might reorder."""
PLAIN = {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
ELSEWHERE = {
    "PYTHONHASHSEED": "4711",
    "LC_ALL": "C",
    "LANG": "de_DE.UTF-8",
    "TZ": "Asia/Kolkata",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
MADE = {
    "pair.onnx": ["graft", "multigraft.toml"],
    "pair.graft": ["build", "multigraft.toml"],
    "home.mgtaps": ["calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps"],
    "home.mgplan": ["calibrate", "plan", "multigraft.toml", "-o", "home.mgplan"],
    "fw": ["firmware", "pair.graft", "--board", "mps2-an385", "-o", "fw"],
}


def make(folder: Path, variables: dict[str, str], cores: set[int]) -> dict[str, bytes]:
    """All that is made in ``folder``, by name."""
    for argv in MADE.values():
        done = subprocess.run(
            [sys.executable, "-m", "multigraft", *argv],
            cwd=folder,
            env={**os.environ, **variables},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    paths = [path for name in MADE for path in (folder / name, *sorted((folder / name).rglob("*"))) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    folder.mkdir()
    write_project(folder, residual_network("first", 1), residual_network("second", 2, width=8), rest=REST)
    return folder


def test_two_builds_are_equal_to_the_last_byte(project: Path, tmp_path: Path, onnx2tf_environment: object) -> None:
    elsewhere = tmp_path / "another place" / "two"
    shutil.copytree(project, elsewhere)
    (tmp_path / "elsewhere").mkdir()
    cores = os.sched_getaffinity(0)
    first = make(project, PLAIN, cores)
    second = make(elsewhere, {**ELSEWHERE, "TMPDIR": str(tmp_path / "elsewhere")}, {min(cores)})
    assert sorted(first) == sorted(second) and len(first) > 10
    assert [name for name in first if first[name] != second[name]] == []
    provenance = Bundle.open(project / "pair.graft").manifest.provenance
    assert provenance["sbom"]["bomFormat"] == "CycloneDX"
    assert str(tmp_path).encode() not in b"".join(first.values())
