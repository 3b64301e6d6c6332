"""Boots Debian 12 under systemd-nspawn and lets happen to the service what may happen; some minutes, as root.

python -m tests.systemd [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bundle_builder import build
from tests.systemd import machine

HERE = Path(__file__).parent
MOST_EXPOSURE = 2.0


def judged(seen: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether each thing that has to be true is, and what it is."""
    yield not seen.get("broken"), f"every step ran {list(seen.get('broken', {}))}"
    yield seen["well_after_s"] is not None, f"installed and well after {seen['well_after_s']} s"
    status = seen["status"]
    yield status["ActiveState"] == "active" and seen["type"] == "notify", "active, by a notification"
    yield "frames/s" in status["StatusText"], f"status line: {status['StatusText']}"
    yield seen["uid"] != 0, f"runs as user {seen['uid']}"
    yield 'inference_seconds_count{task="digit"}' in seen["metrics"], "metrics"
    yield isinstance(seen["exposure"], float) and seen["exposure"] <= MOST_EXPOSURE, f"exposure {seen['exposure']}"
    yield seen["xnnpack"] == ["on"], f"XNNPACK inside: {seen['xnnpack']}"
    yield seen["cpuinfo"], "and /proc/cpuinfo, by which it starts on Arm, can be read"
    for what in ("killed", "stopped", "hung"):
        yield seen[what]["took_s"] is not None and seen[what]["restarts"] == 1, f"{what}: {seen[what]}"
    yield seen["hung"]["traces"], "the log has what every thread was doing when it hung"
    http = seen["http_killed"]
    yield http["processes"] > 0 and http["took_s"] is not None and http["same_loop"], f"HTTP process killed: {http}"
    lost = seen["unplugged"]
    yield (
        lost["noticed_s"] is not None and lost["back_s"] is not None and lost["same_loop"],
        f"camera unplugged: {lost}",
    )
    yield lost["health"][0] == 503 and "looked for" in lost["status"], "and said so meanwhile"
    bad = seen["corrupted"]
    yield bad["first"] != bad["second"] and bad["served"] == bad["first"] and bool(bad["said"]), f"corrupted: {bad}"
    wrong = seen["misconfigured"]
    yield wrong["code"] == "78" and wrong["state"] == "failed" and wrong["still"], f"misconfigured: {wrong}"
    yield seen["stopping"]["result"] == "success", f"stops: {seen['stopping']}"
    yield not seen["left"], f"uninstalled, left: {seen['left']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="of what was seen, and the container's journal")
    options = parser.parse_args()
    if (reason := machine.missing()) is not None:
        print(f"Nothing was booted: {reason}.")
        return 2
    root = machine.made(HERE.parents[1])
    shutil.copy(HERE / "picamera2.py", root / machine.PREFIX / "lib" / "python3.11" / "site-packages")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        build().bundle.write(results / "first.graft")
        build(width=12).bundle.write(results / "second.graft")
        console = machine.boot(root, HERE / "program.py", results)
        if options.keep is not None:
            shutil.copytree(results, options.keep, dirs_exist_ok=True)
            (options.keep / "console.txt").write_text(console)
        if not (results / "results.json").exists():
            print(console[-3000:])
            return 1
        seen = json.loads((results / "results.json").read_text())
    bad = 0
    for is_right, what in judged(seen):
        print("ok  " if is_right else "BAD ", what)
        bad += not is_right
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
