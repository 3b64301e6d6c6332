"""The command itself: how it starts, and what a shell may complete."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import multigraft
from multigraft.cli.main import COMMANDS


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "multigraft", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"multigraft {multigraft.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("multigraft ", set(COMMANDS)), ("multigraft cal", {"calibrate "}), ("multigraft run --tas", {"--tasks "})],
)
def test_a_shell_can_complete_verbs_and_options(typed: str, offered: set[str]) -> None:
    read, write = os.pipe()
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{write}",
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    subprocess.run([sys.executable, "-m", "multigraft"], env=environment, pass_fds=(write,), check=True)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert offered <= set(pipe.read().split("\n"))
