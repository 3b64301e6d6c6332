"""A child is stuck by what it does, and not by the time that others leave it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from multigraft.runtime.child import StuckError, activity, run_watched
from multigraft.runtime.untrusted import try_in_child
from tests.bundle_builder import build
from tests.runtime.conftest import BACKENDS

IDLE_S = 0.5


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("wait", ["time.sleep(600)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_one_that_does_nothing_is_stuck(wait: str) -> None:
    with pytest.raises(StuckError, match=r"did nothing for 0\.5 s"):
        run_watched(python(f"import os, signal, time\n{wait}"), idle_s=IDLE_S)


def test_one_that_never_ends_a_step_is_stuck() -> None:
    program = "from multigraft.runtime.child import begin_step\nbegin_step(seconds=0.5)\nwhile True: pass"
    with pytest.raises(StuckError, match="processor time"):
        run_watched(python(program))


def test_every_step_has_its_own_time() -> None:
    program = (
        "import time\nfrom multigraft.runtime.child import begin_step\n"
        "for step in range(3):\n"
        "    begin_step(seconds=1)\n"
        "    end = time.process_time() + 0.7\n"
        "    while time.process_time() < end: pass\n"
        "print('done')"
    )
    assert run_watched(python(program)).stdout == b"done\n"


STARVED = f"""
import os, subprocess, sys, time
processor = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, [processor])
hog = "import time; end = time.monotonic() + {4 * IDLE_S}\\nwhile time.monotonic() < end: pass"
hog = subprocess.Popen([sys.executable, "-c", hog])
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while hog.poll() is None: pass
print("done")
"""


def test_one_that_others_leave_no_processor_to_is_not_stuck() -> None:
    assert run_watched(python(STARVED), idle_s=IDLE_S).stdout == b"done\n"


def test_what_it_is_given_and_what_it_says_arrive_whole_however_late_it_reads() -> None:
    given = bytes(range(256)) * 4000
    program = (
        "import sys, time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\n"
        "data = sys.stdin.buffer.read()\nsys.stdout.buffer.write(data[::-1])\nsys.exit(3)"
    )
    ended = run_watched(python(program), given)
    assert (ended.returncode, ended.stdout) == (3, given[::-1])


def test_a_process_that_is_gone_does_nothing() -> None:
    assert activity(2**22 + 1) == (0.0, False)
    used, runs = activity(os.getpid())
    assert used > 0 and runs


def test_a_model_is_tried_without_the_modules_that_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("open('imported', 'w')\n")
    monkeypatch.chdir(tmp_path)
    try_in_child(build().bundle.model, BACKENDS[0])
    assert not (tmp_path / "imported").exists()
