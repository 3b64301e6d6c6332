"""The demo bundle: engine against bare invokes, preprocessing apart, memory."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from multigraft.cli.shared.build_results import write_comparison_models
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import Built, build
from multigraft.converters.job.progress import terminal_report
from multigraft.converters.settings.settings import Settings
from tests.benchmarks.demo_networks import SETTINGS

RUNS = 2000


@functools.cache
def built() -> Built:
    """The demo, built once per process."""
    with terminal_report() as report:
        return build(Settings.load(SETTINGS), load_frames, report, separate=True)


def show(folder: Path) -> None:
    """Build the demo and print what ``multigraft bench`` says of it."""
    bundle = built().bundle.write(folder / "demo.graft")
    write_comparison_models(built(), bundle)
    compare(bundle, RUNS)


def compare(bundle: Path, runs: int) -> None:
    """Engine against the uncut model and the separate ones, one thread.

    In a process of its own, as a device has it: after a build the caches meet another heap.
    """
    command = [sys.executable, "-m", "multigraft.cli.main", "bench", str(bundle), "--runs", str(runs)]
    subprocess.run([*command, "--against", "uncut", "--against", "separate"], check=True)
