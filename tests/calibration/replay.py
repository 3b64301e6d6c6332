"""A collector in a process of its own, over frames of a file, for tests that kill it.

python -m tests.calibration.replay FRAMES.npy OUTPUT.mgstats [DELAY_S]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from multigraft.calibration.collect.collect_events import CollectEvent
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.devices.cameras.array_file import ArrayFile
from tests.calibration.networks import taps_bundle

OPTIONS = CollectOptions(site="a", minibatch=4, minimum_frames=4, keep_frames=6)
DAY_S = 1_780_000_000.0


def main(source: str, output: str, delay_s: str = "0") -> None:
    """Collect over all of the file."""
    print("ready", flush=True)

    def report(event: CollectEvent) -> None:
        time.sleep(float(delay_s))

    collect(taps_bundle(), ArrayFile(source), Path(output), OPTIONS, report, clock=lambda: DAY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
