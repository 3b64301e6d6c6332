"""Where the delegate can't be compiled multigraft is installed without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
LINKED = (
    "core", "devices", "calibration", "converters", "firmware_gen", "setup.py", "setup.cfg", "pyproject.toml",
    "README.md", "LICENSE", "NOTICE",
)  # fmt: skip
BUILD = """
import sys
from setuptools import build_meta
build_meta.build_editable(sys.argv[1], {"editable_mode": "strict"})
"""


def test_without_a_compiler_a_clone_is_installed_all_the_same(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77", "builds as an installation does")
    clone, made = tmp_path / "clone", tmp_path / "made"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(REPOSITORY / "runtime", clone / "runtime", ignore=ignored)
    for name in LINKED:
        (clone / name).symlink_to(REPOSITORY / name)
    made.mkdir()
    command = [sys.executable, "-P", "-c", BUILD, str(made)]
    environment = {**os.environ, "CC": str(tmp_path / "no-compiler")}
    ended = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-1000:]
    assert [path.name for path in made.iterdir() if "-py3-none-" in path.name]
    (linked,) = clone.glob("build/__editable__.*/multigraft/runtime/delegate")
    assert sorted(path.name for path in linked.iterdir()) == ["__init__.py", "canary.py", "choosing.py", "library.py"]
