"""Boots Debian 12 under systemd-nspawn and lets happen to the service what may happen; some minutes, as root.

python -m tests.systemd [--keep FOLDER] [--deb FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multigraft.runtime.deploy.trial import TRIALS
from tests.bundle_builder import build, failing
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
    secret = seen["secret"]
    yield not secret["told_by"] and secret["kept"] == ["600 0"], f"a camera's password is for root alone: {secret}"
    yield secret["well_by_file_s"] is not None and not secret["left"], "and a source comes from a file of root's"
    wrong = seen["misconfigured"]
    yield wrong["code"] == "78" and wrong["state"] == "failed" and wrong["still"], f"misconfigured: {wrong}"
    yield seen["stopping"]["result"] == "success", f"stops: {seen['stopping']}"
    yield not seen["left"], f"uninstalled, left: {seen['left']}"


def judged_package(seen: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """In the same way, of the Debian package."""
    yield not seen.get("broken"), f"every step ran {list(seen.get('broken', {}))}"
    first = seen["install"]
    brought = ("unit", "command", "options", "user", "enabled")
    yield all(first["there"][name] for name in brought) and not first["there"]["active"], f"package installed: {first}"
    serve = seen["serve"]
    yield serve["took_s"] is not None and serve["user"] == ["multigraft"], f"serves once a bundle is there: {serve}"
    yield serve["xnnpack"] == ["on"], f"XNNPACK inside: {serve['xnnpack']}"
    upgrade = seen["upgrade"]
    kept = upgrade["kept_options"] and upgrade["kept_bundle"] and upgrade["version"] == SECOND_VERSION
    yield upgrade["took_s"] is not None and kept, f"upgraded, and serves again: {upgrade}"
    good = seen["good"]
    yield good["took_s"] is not None and good["served"] != serve["served"], f"another bundle: {good}"
    refused = seen["refused"]
    yield "fails its self-test here" in refused["said"] and refused["same"], f"one fails its self-test: {refused}"
    large, crashes, hangs = seen["does_not_fit"], seen["crashes"], seen["hangs"]
    yield large["well_before"] and large["settled_s"] is not None, "the one before served well, and has settled"
    for what, bad in (("does not fit", large), ("crashes", crashes), ("misses the watchdog", hangs)):
        yield (
            bad["bad"] != bad["good"] and bad["restarts"] >= TRIALS,
            f"a bundle passes its self-test and {what}: {bad}",
        )
        is_back = bad["took_s"] is not None and bad["served"] == bad["good"] == good["served"]
        yield is_back and bool(bad["told"]), "rolled back by itself"
    yield hangs["sent"] == hangs["logged"] == TRIALS, f"missed the watchdog {hangs['logged']} times"
    yield crashes["sent"] == crashes["logged"] == TRIALS, f"crashed {crashes['logged']} times"
    removed = seen["remove"]
    gone = not any(removed["there"][name] for name in ("unit", "command", "active")) and removed["answers"] == 0
    yield gone and removed["there"]["state"] and removed["there"]["options"], f"removed, bundles kept: {removed}"
    again = seen["again"]
    yield again["took_s"] is not None and again["served"] == good["served"], f"installed again, and serves: {again}"
    yield not seen["purge"]["left"] and seen["purge"]["answers"] == 0, f"purged: {seen['purge']}"


SECOND_VERSION = "99.0"


def repacked(package: Path, folder: Path) -> None:
    """The same package as a later version: ``first.deb`` and ``second.deb``."""
    shutil.copy(package, folder / "first.deb")
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
        control = tree / "DEBIAN" / "control"
        control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {SECOND_VERSION}", control.read_text()))
        subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", str(tree), str(folder / "second.deb")], check=True)


def happened(root: Path, program: str, results: Path, keep: Path | None) -> dict[str, Any] | None:
    """What the program saw inside, None if it did not get to it."""
    console = machine.boot(root, HERE / program, results)
    if keep is not None:
        shutil.copytree(results, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.deb"))
        (keep / "console.txt").write_text(console)
    if not (results / "results.json").exists():
        print(console[-3000:])
        return None
    seen: dict[str, Any] = json.loads((results / "results.json").read_text())
    return seen


def told(judgements: Iterator[tuple[bool, str]]) -> int:
    """Print each; how many are bad. What was never seen ends it, and is one."""
    bad = 0
    try:
        for is_right, what in judgements:
            print("ok  " if is_right else "BAD ", what)
            bad += not is_right
    except KeyError as error:
        print(f"BAD  nothing was seen of {error}")
        bad += 1
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="of what was seen, and the container's journal")
    parser.add_argument("--deb", type=Path, metavar="FILE", help="the Debian package, which is tried then, and alone")
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
        program, judge = "program.py", judged
        if options.deb is not None:
            program, judge = "packaged.py", judged_package
            repacked(options.deb, results)
            build(heads=(("digit", "classification"),), size=(2000, 2000, 1)).bundle.write(results / "large.graft")
            build(width=16).bundle.write(results / "hanging.graft")
            build(width=18).bundle.write(results / "crashing.graft")
            failing(build(width=14).bundle).write(results / "wrong.graft")
        seen = happened(root, program, results, options.keep)
        return 1 if seen is None or told(judge(seen)) else 0


if __name__ == "__main__":
    sys.exit(main())
