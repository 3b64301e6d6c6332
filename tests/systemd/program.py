"""Runs inside the container, as root, with the standard library alone: does to the service what may happen to it.

Each step writes what it saw into results.json; what has to be true of it stands in :mod:`tests.systemd.__main__`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path("/srv/results")
FAULTS = Path("/run/faults")
MULTIGRAFT = "/srv/multigraft/bin/multigraft"
UNIT = "multigraft"
WATCHDOG_S = 6
DROP_IN = Path("/etc/systemd/system/multigraft.service.d/test.conf")
BUNDLES = Path("/var/lib/multigraft")
LONG_S = 60.0
seen: dict[str, Any] = {}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def shown(name: str) -> str:
    return run("systemctl", "show", UNIT, "--value", f"--property={name}").strip()


def asked(path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def until(condition: Callable[[], bool], seconds: float = LONG_S) -> float | None:
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if condition():
            return round(time.monotonic() - begin, 1)
        time.sleep(0.1)
    return None


def is_well() -> bool:
    return asked("/healthz")[0] == 200


def settings(text: str) -> None:
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\n{text}")
    run("systemctl", "daemon-reload")
    # Waits for the notification.
    run("systemctl", "restart", UNIT)


def events(name: str) -> list[dict[str, Any]]:
    lines = run("journalctl", "--no-pager", "-o", "json", f"MULTIGRAFT_EVENT={name}").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def current() -> str:
    return (BUNDLES / "current").readlink().name


def main_pid() -> int:
    pid = int(shown("MainPID"))
    # Signals to process 0 reach this program itself.
    if not pid:
        raise RuntimeError("the service does not run")
    return pid


def restarted(fault: Callable[[], None]) -> dict[str, Any]:
    before, count = shown("MainPID"), int(shown("NRestarts"))
    fault()
    took = until(lambda: int(shown("NRestarts")) > count and shown("MainPID") not in (before, "0") and is_well())
    return {"took_s": took, "restarts": int(shown("NRestarts")) - count, "result": shown("Result")}


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
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"multigraft.runtime.http" in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass
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
    served = re.search(r'bundle_info\{.*sha256="([0-9a-f]+)"', asked("/metrics")[1])
    seen["corrupted"] = {
        "first": first,
        "second": second,
        "served": served[1] if served else None,
        "said": [event["MESSAGE"] for event in events("bundle_replaced")],
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


def main() -> None:
    steps = (
        installs, scores, looks_for_xnnpack, kills, stops, kills_http, hangs, unplugs, corrupts, misconfigures,
        uninstalls,
    )  # fmt: skip
    for step in steps:
        begin = time.monotonic()
        try:
            step()
        except Exception:
            seen.setdefault("broken", {})[step.__name__] = traceback.format_exc()
        seen.setdefault("seconds", {})[step.__name__] = round(time.monotonic() - begin, 1)
        (RESULTS / "results.json").write_text(json.dumps(seen, indent=1))
        (RESULTS / "journal.txt").write_text(run("journalctl", "--no-pager", "-o", "short-monotonic"))


main()
