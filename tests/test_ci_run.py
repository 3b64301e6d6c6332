"""What ``.ci/run`` ends with, its steps replaced by scripts: the steps themselves take an hour."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/bash
case "$*" in *"${FAILS:-nothing fails}") echo "make: *** [$FAILS]"; exit 2;; *" test") echo "50 passed in 3.00s";; esac
"""
OTHERS = """#!/bin/bash
[ "$1" = tests ] || exit "${MAKING:-0}"
echo "100 passed in 4.00s"
[ -z "${SAID:-}" ] || { echo "$SAID"; exit 3; }
"""


def ended(folder: Path, **environment: str) -> tuple[bool, str]:
    """Whether it succeeded and the last line it printed."""
    for path, text in ((".ci/run", RUN.read_text("utf-8")), (".ci/other-interpreters", OTHERS), ("bin/make", MAKE)):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        (folder / path).chmod(0o755)
    variables = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment}
    done = subprocess.run([folder / ".ci/run"], env=variables, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        *(({"FAILS": name}, "0 passed, 1 failed") for name in (".venv/.made", ".venv/.ready-dev", "check", "test")),
        ({"MAKING": "1"}, "0 passed, 1 failed"),
        ({"SAID": "INTERNALERROR> nothing more"}, "0 passed, 1 failed"),
        ({"SAID": "2 failed, 98 passed in 5.00s"}, "2 failed, 98 passed in 5.00s"),
        ({"SAID": "= 98 passed, 1 warning, 2 errors in 5.00s ="}, "= 98 passed, 1 warning, 2 errors in 5.00s ="),
    ],
)
def test_a_step_that_fails_fails_the_run_and_its_summary(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert ended(tmp_path, **environment) == (False, said)


def test_the_last_line_is_the_suites_summary(tmp_path: Path) -> None:
    assert ended(tmp_path) == (True, "50 passed in 3.00s")
