"""What ``.ci/run`` ends with, its steps replaced by scripts: the steps themselves take an hour."""

from __future__ import annotations

import os
import signal
import subprocess
import time
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


def placed(folder: Path) -> dict[str, str]:
    """The run and its scripts in a folder; what its environment needs."""
    for path, text in ((".ci/run", RUN.read_text("utf-8")), (".ci/other-interpreters", OTHERS), ("bin/make", MAKE)):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        (folder / path).chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def ended(folder: Path, **environment: str) -> tuple[bool, str]:
    """Whether it succeeded and the last line it printed."""
    variables = placed(folder) | environment
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


def test_an_interruption_ends_what_runs_beside_the_checks(tmp_path: Path) -> None:
    variables, here = placed(tmp_path), tmp_path / "process"
    waiting = f"#!/bin/bash\nsleep 60 & echo $! >{here}.new; mv {here}.new {here}; wait\n"
    (tmp_path / ".ci/other-interpreters").write_text(waiting, "utf-8")
    (tmp_path / "bin/make").write_text('#!/bin/bash\n[ "$2" != check ] || while sleep 0.1; do :; done\n', "utf-8")
    # Who starts the tests in the background has the signal ignored, and no shell below it can change that.
    command = ["env", "--default-signal=INT", str(tmp_path / ".ci/run")]
    run = subprocess.Popen(command, env=variables, start_new_session=True, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if here.exists():
            break
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(30) != 0
    for _ in range(100):
        if not Path(f"/proc/{int(here.read_text())}").exists():
            return
        time.sleep(0.05)
    pytest.fail("what ran beside the checks goes on")
