from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST

SKIPPING = {
    "test_reason.py": "import pytest\ndef test_a(): pytest.skip('no reason at all')\ndef test_b(): pass\n",
    "test_module.py": "import pytest\npytest.importorskip('no_such_module')\n",
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='not today')\ndef test_c(): pass\n",
    "test_hardware.py": "import pytest\ndef test_d(): pytest.skip('hardware: no camera')\n",
    "test_torch.py": "import pytest\n@pytest.mark.skip('torch: not installed')\ndef test_e(): pass\n",
}


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    for name in ("conftest.py", "allowed_skips.txt"):
        (folder / name).write_bytes((here / name).read_bytes())
    for name, text in SKIPPING.items():
        (folder / name).write_text(text, "utf-8")
    rest = {k: v for k, v in os.environ.items() if k not in ("CI", "MULTIGRAFT_WITH_TORCH")}
    command = [sys.executable, "-m", "pytest", "--continue-on-collection-errors", f"--rootdir={folder}", str(folder)]
    return subprocess.run(command, cwd=folder, env=rest | environment, capture_output=True, text=True, check=False)


def test_skips_are_free_outside_of_ci(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout
    assert "1 passed, 5 skipped" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("torch", "summary", "refused"),
    [
        (
            {},
            "1 failed, 1 passed, 2 skipped, 2 errors",
            ["no reason at all", "could not import 'no_such_module'", "not today"],
        ),
        ({"MULTIGRAFT_WITH_TORCH": "1"}, "1 failed, 1 passed, 1 skipped, 3 errors", ["torch: not installed"]),
    ],
)
def test_ci_fails_on_a_skip_that_is_not_listed(
    tmp_path: Path, torch: dict[str, str], summary: str, refused: list[str]
) -> None:
    result = run(tmp_path, CI="true", **torch)
    assert result.returncode != 0
    for reason in refused:
        assert f"was skipped, which CI does not allow: {reason}" in result.stdout
    assert summary in result.stdout.splitlines()[-1]


def test_the_longest_files_are_there_and_are_named_once() -> None:
    assert [name for name in LONGEST if not (Path(__file__).parent / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_the_longest_files_come_first_and_each_stays_together(tmp_path: Path) -> None:
    here = Path(__file__).parent
    for name in ("conftest.py", "allowed_skips.txt"):
        (tmp_path / name).write_bytes((here / name).read_bytes())
    for name in ("attack/test_aaa.py", LONGEST[1], LONGEST[0]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def test_b(): pass\ndef test_a(): pass\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    wanted = [f"{name}::test_{test}" for name in (LONGEST[0], LONGEST[1], "attack/test_aaa.py") for test in "ba"]
    assert done.stdout.splitlines()[: len(wanted)] == wanted
