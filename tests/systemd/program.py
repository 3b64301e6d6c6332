"""Runs inside the container, as root, with the standard library alone: does to the service what may happen to it.

Each step writes what it saw into results.json; what has to be true of it stands in :mod:`tests.systemd.__main__`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

from tests.systemd.inside import (
    BUNDLES,
    RESULTS,
    UNIT,
    asked,
    current,
    drive,
    events,
    is_well,
    main_pid,
    restarted,
    run,
    seen,
    served,
    shown,
    until,
)

FAULTS = Path("/run/faults")
MULTIGRAFT = "/srv/multigraft/bin/multigraft"
WATCHDOG_S = 6
SECRET = "hidden-word"
DROP_IN = Path("/etc/systemd/system/multigraft.service.d/test.conf")


def settings(text: str) -> None:
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\n{text}")
    run("systemctl", "daemon-reload")
    # Waits for the notification.
    run("systemctl", "restart", UNIT)


def installs() -> None:
    FAULTS.mkdir(exist_ok=True)
    seen["install"] = run(MULTIGRAFT, "service", "install", "/srv/results/first.graft", "--source", "camera")
    seen["well_after_s"] = until(is_well)
    settings("")
    seen["well_again_s"] = until(is_well)
    time.sleep(6)
    seen["status"] = json.loads(run(MULTIGRAFT, "service", "status", "--json"))
    seen["type"] = shown("Type")
    seen["uid"] = Path(f"/proc/{main_pid()}").stat().st_uid
    seen["metrics"] = asked("/metrics")[1]
    seen["picture"] = asked("/live/state")[0]


def scores() -> None:
    text = run("systemd-analyze", "security", "--no-pager", f"{UNIT}.service")
    (RESULTS / "security.txt").write_text(text)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", text)
    seen["exposure"] = float(found[1]) if found else text[-300:]


def looks_for_xnnpack() -> None:
    seen["xnnpack"] = [event["MULTIGRAFT_XNNPACK"] for event in events("started")][-1:]
    # On Arm XNNPACK asks this file what the processor can do.
    seen["cpuinfo"] = "processor" in Path(f"/proc/{main_pid()}/root/proc/cpuinfo").read_text()


def kills() -> None:
    seen["killed"] = restarted(lambda: os.kill(main_pid(), signal.SIGKILL))


def stops() -> None:
    seen["stopped"] = restarted(lambda: os.kill(main_pid(), signal.SIGSTOP))


def kills_http() -> None:
    before, count = shown("MainPID"), shown("NRestarts")
    children = http_processes()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    seen["http_killed"] = {
        "processes": len(children),
        "gone": not is_well(),
        "took_s": until(is_well),
        "same_loop": before == shown("MainPID") and count == shown("NRestarts"),
    }


def http_processes() -> list[str]:
    return [pid for pid, command in command_lines().items() if "multigraft.runtime.http" in command]


def command_lines() -> dict[str, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found[path.parent.name] = path.read_bytes().decode("utf-8", "replace")
    return found


def hangs() -> None:
    def hang() -> None:
        (FAULTS / "hanging").touch()
        until(lambda: shown("Result") == "watchdog" or int(shown("NRestarts")) > count, 30)
        (FAULTS / "hanging").unlink()

    count = int(shown("NRestarts"))
    seen["hung"] = restarted(hang)
    seen["hung"]["traces"] = "Fatal Python error: Aborted" in run("journalctl", "--no-pager", "-u", UNIT)


def unplugs() -> None:
    before, count = shown("MainPID"), shown("NRestarts")
    (FAULTS / "unplugged").touch()
    noticed = until(lambda: not is_well())
    health = asked("/healthz")
    # Longer than the watchdog: a camera that is not there is no reason to start again.
    time.sleep(2 * WATCHDOG_S)
    text = shown("StatusText")
    (FAULTS / "unplugged").unlink()
    seen["unplugged"] = {
        "noticed_s": noticed,
        "health": health,
        "status": text,
        "back_s": until(is_well),
        "same_loop": before == shown("MainPID") and count == shown("NRestarts"),
        "events": [len(events("camera_lost")), len(events("camera_back"))],
    }


def corrupts() -> None:
    first = current()
    run(MULTIGRAFT, "service", "install", "/srv/results/second.graft", "--source", "camera")
    until(lambda: current() in asked("/metrics")[1])
    second = current()
    model = BUNDLES / "bundles" / second / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 0xFF
    model.write_bytes(data)
    run("systemctl", "restart", UNIT)
    until(is_well)
    seen["corrupted"] = {
        "first": first,
        "second": second,
        "served": served(),
        "said": [event["MESSAGE"] for event in events("bundle_replaced")],
    }


def hides() -> None:
    """A camera's password, typed and in a file of root's."""
    words = [MULTIGRAFT, "service", "install", "/srv/results/first.graft", "--source"]
    said = run(*words, f"rtsp://watcher:{SECRET}@127.0.0.1:9/stream")
    time.sleep(5)
    found = {
        "install": said,
        "unit": Path(f"/etc/systemd/system/{UNIT}.service").read_text(),
        "show": run("systemctl", "show", UNIT) + run("systemctl", "status", "--no-pager", "-l", UNIT),
        "log": run("journalctl", "--no-pager", "-o", "json"),
        "processes": "".join(command_lines().values()),
    }
    kept = [path.stat() for path in Path("/etc/multigraft").iterdir() if SECRET in path.read_text()]
    source = Path("/etc/multigraft-source.txt")
    source.write_text("camera\n")
    source.chmod(0o600)
    run(*words, f"@{source}")
    seen["secret"] = {
        "told_by": [where for where, text in found.items() if SECRET in text],
        "kept": [f"{one.st_mode & 0o777:o} {one.st_uid}" for one in kept],
        "well_by_file_s": until(is_well),
        "left": [str(path) for path in Path("/etc/multigraft").iterdir()],
    }


def misconfigures() -> None:
    settings("ExecStart=\nExecStart=/srv/multigraft/bin/python -P -m multigraft serve --source nonsense\n")
    failed = until(lambda: shown("ActiveState") == "failed")
    count = shown("NRestarts")
    time.sleep(8)
    seen["misconfigured"] = {
        "failed_s": failed,
        "code": shown("ExecMainStatus"),
        "state": shown("ActiveState"),
        "still": count == shown("NRestarts"),
        "said": run(MULTIGRAFT, "service", "logs", "-n", "3"),
    }


def uninstalls() -> None:
    settings("")
    run("systemctl", "reset-failed", UNIT)
    run("systemctl", "restart", UNIT)
    until(is_well)
    begin = time.monotonic()
    run("systemctl", "stop", UNIT)
    seen["stopping"] = {"took_s": round(time.monotonic() - begin, 1), "result": shown("Result")}
    DROP_IN.unlink()
    seen["uninstall"] = run(MULTIGRAFT, "service", "uninstall", "--purge")
    seen["left"] = [str(path) for path in (Path("/etc/systemd/system/multigraft.service"), BUNDLES) if path.exists()]


drive(
    *(installs, scores, looks_for_xnnpack, kills, stops, kills_http, hangs, unplugs, corrupts, hides, misconfigures),
    uninstalls,
)
