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


INTERRUPTED = "multigraft: interrupted; nothing was left half-written.\n"


def raising_after(is_interrupted: bool, error: str) -> subprocess.CompletedProcess[str]:
    """A command that raises an error, after an interrupt that somebody took."""
    script = (
        "import os, signal, sys; from multigraft.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def execute(argv):\n"
        "    try:\n"
        f"        if {is_interrupted}: os.kill(os.getpid(), signal.SIGINT)\n"
        "        for _ in range(100): pass\n"
        "    except KeyboardInterrupt: pass\n"
        f"    raise {error}\n"
        "main._execute = execute; sys.exit(main.main([]))"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_an_interrupt_that_a_library_turns_into_an_error_is_one(is_interrupted: bool) -> None:
    # numpy does: what stops it while it compares types becomes a TypeError.
    done = raising_after(is_interrupted, "TypeError('types differ')")
    if is_interrupted:
        assert (done.returncode, done.stderr) == (130, INTERRUPTED)
    else:
        assert done.returncode == 70 and "TypeError: types differ" in done.stderr


def test_what_fails_behind_an_interrupt_is_told_besides() -> None:
    # Answers up to the interrupt are still written, and a disk may be full.
    done = raising_after(True, "OSError(28, 'No space left on device')")
    assert done.returncode == 130 and "No space left on device" in done.stderr.splitlines()[0]
    assert done.stderr.endswith(f"\n{INTERRUPTED}")


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
