"""A service that answers 200,000 frames, is looked at and asked meanwhile, and may not grow: ``make soak``.

python -m tests.runtime.service.soak [--frames N]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.bundle_builder import build
from tests.runtime.service.served import Served, serving

MOST_GROWTH = 4 << 20
"""Bytes: what an allocator keeps for itself comes and goes."""
LOOKS = 40


def grown(served: Served, frames: int, settle: int) -> list[str]:
    """What takes more after ``frames`` frames than after ``settle``, in words; nothing if all is well.

    Meanwhile the page, the metrics and an inference are asked for, some forty times each.
    """
    seen: list[tuple[int, int, int, int]] = []
    body = {"inputs": [{"name": "frame", "shape": [8, 8], "datatype": "UINT8", "data": list(range(64))}]}
    for look in range(LOOKS + 1):
        due = settle + (frames - settle) * look // LOOKS
        state = served.json("/live/state")
        while state["frames"] < due:
            time.sleep(0.05)
            state = served.json("/live/state")
        served.ask("/live/picture")
        served.ask("/metrics")
        status, _, said = served.ask("/v2/models/test/infer", "POST", json.dumps(body).encode())
        assert status in (200, 503), said
        pid = served.process.pid
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        child = sum(_anonymous(number) for path in tasks for number in path.read_text().split())
        seen.append((state["frames"], state["memory_bytes"], descriptors, child))
    # The first looks load what looking takes.
    first, last = seen[len(seen) // 4], seen[-1]
    print(
        "\n".join(
            f"{f:8} frames {m / 2**20:8.1f} MiB {d:4} files, HTTP {c / 2**20:8.1f} MiB" for f, m, d, c in seen[::8]
        )
    )
    bad = []
    for name, number, most in (("memory", 1, MOST_GROWTH), ("descriptors", 2, 0), ("memory for HTTP", 3, MOST_GROWTH)):
        if last[number] - first[number] > most:
            bad.append(f"{name} grew from {first[number]} to {last[number]} in {last[0] - first[0]} frames")
    return bad


def _anonymous(pid: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build().bundle.write(folder / "home.graft")
        with serving(folder, str(folder / "home.graft"), "--source", "fake:28x28,grey") as served:
            served.until(served.is_well)
            bad = grown(served, options.frames, options.frames // 20)
            end = served.json("/live/state")
            print(f"{end['frames']} frames in {end['uptime_s']:.0f} s, errors {end['errors']}")
            code = served.end()
    print("\n".join(bad) or "Nothing grew.")
    return 1 if bad or code else 0


if __name__ == "__main__":
    sys.exit(main())
