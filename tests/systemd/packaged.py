"""Runs inside the container: the Debian package installed, upgraded, with bad bundles, removed and purged.

Bad are four: one fails its self-test and is not taken. One passes it when it is deployed, and does not fit into memory
under the unit's limits. Two pass and serve, and each time their process gets a signal of this program's: SIGSEGV, a
crash, or SIGSTOP, so that it misses the watchdog.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.systemd.inside import (
    BUNDLES,
    asked,
    current,
    drive,
    events,
    is_well,
    main_pid,
    run,
    seen,
    served,
    shown,
    until,
)

FIRST, SECOND = "/srv/results/first.deb", "/srv/results/second.deb"
MULTIGRAFT = "/usr/bin/multigraft"
OPTIONS = Path("/etc/default/multigraft")
UNIT_FILE = Path("/lib/systemd/system/multigraft.service")
LIMIT = Path("/run/systemd/system/multigraft.service.d/limit.conf")
WATCHDOG = LIMIT.with_name("watchdog.conf")
SLACK = 24 << 20
ROLLS_BACK_S = 300
LINE = 'MULTIGRAFT_OPTIONS="--source fake:28x28,grey --rate 20"\n'


def there() -> dict[str, bool]:
    """What the package brings and what lies in its state."""
    return {
        "unit": UNIT_FILE.exists(),
        "command": Path(MULTIGRAFT).exists(),
        "options": OPTIONS.exists(),
        "state": (BUNDLES / "current").exists(),
        "user": "multigraft" in Path("/etc/passwd").read_text(),
        "enabled": shown("UnitFileState") == "enabled",
        "active": shown("ActiveState") == "active",
    }


def deployed(name: str) -> str:
    return run(MULTIGRAFT, "deploy", "--state", str(BUNDLES), f"/srv/results/{name}.graft")


def installs() -> None:
    said = run("dpkg", "-i", FIRST)
    seen["install"] = {"said": said[-500:], "there": there(), "state": shown("ActiveState")}


def serves() -> None:
    OPTIONS.write_text(LINE)
    said = deployed("first")
    run("systemctl", "restart", "multigraft")
    took = until(is_well)
    uid = str(Path(f"/proc/{main_pid()}").stat().st_uid)
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    seen["serve"] = {
        "said": said,
        "took_s": took,
        "user": [user[0] for user in users if user[2] == uid],
        "served": served(),
        "xnnpack": [event["MULTIGRAFT_XNNPACK"] for event in events("started")][-1:],
        "there": there(),
    }


def upgrades() -> None:
    before, first = main_pid(), served()
    # As apt does where a file of settings was changed: it stays.
    said = run("dpkg", "-i", "--force-confold", SECOND)
    took = until(lambda: main_pid() != before and is_well())
    seen["upgrade"] = {
        "said": said[-500:],
        "took_s": took,
        "version": run("dpkg-query", "-W", "-f", "${Version}", "multigraft"),
        "kept_options": OPTIONS.read_text() == LINE,
        "kept_bundle": served() == first,
        "there": there(),
    }


def gets_a_good_bundle() -> None:
    said, before = deployed("second"), main_pid()
    took = until(lambda: served() == current() and main_pid() != before)
    seen["good"] = {"said": said, "took_s": took, "served": served()}


def refuses_what_fails_its_self_test() -> None:
    before, pid = served(), main_pid()
    said = deployed("wrong")
    # The service looks each second.
    time.sleep(3)
    seen["refused"] = {"said": said, "same": current() == served() == before and main_pid() == pid}


def gets_one_that_does_not_fit() -> None:
    good = served()
    data = re.search(r"VmData:\s+(\d+)", Path(f"/proc/{main_pid()}/status").read_text())
    assert data is not None
    LIMIT.parent.mkdir(parents=True, exist_ok=True)
    LIMIT.write_text(f"[Service]\nLimitDATA={(int(data[1]) << 10) + SLACK}\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "multigraft")
    until(is_well)
    is_well_before = served() == good
    # What has served well for two minutes is what is come back to.
    settled = until(lambda: json.loads((BUNDLES / "trial.json").read_text())["settled"], 180)
    seen["does_not_fit"] = {"well_before": is_well_before, "settled_s": settled, **rolled_back(deployed("large"), good)}
    LIMIT.unlink()


def gets_one_that_crashes() -> None:
    seen["crashes"] = signalled("crashing", signal.SIGSEGV, "status=11/SEGV")


def gets_one_that_hangs() -> None:
    WATCHDOG.write_text("[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\n")
    run("systemctl", "daemon-reload")
    seen["hangs"] = signalled("hanging", signal.SIGSTOP, "Watchdog timeout")
    WATCHDOG.unlink()


def signalled(name: str, number: signal.Signals, logged: str) -> dict[str, Any]:
    """What becomes of a bundle whose process gets a signal each time that it serves."""
    run("systemctl", "restart", "multigraft")
    until(is_well)
    good, begin = served(), time.time()
    said, bad = deployed(name), current()
    sent: list[int] = []

    def send() -> None:
        pid = int(shown("MainPID"))
        if pid and pid not in sent and served() == bad:
            os.kill(pid, number)
            sent.append(pid)

    became = rolled_back(said, good, send)
    log = run("journalctl", "--no-pager", "-u", "multigraft", f"--since=@{int(begin)}")
    return {**became, "sent": len(sent), "logged": log.count(logged)}


def rolled_back(said: str, good: str, look: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What becomes of a bundle that was just deployed, until the good one serves again."""
    bad, restarts, told = current(), int(shown("NRestarts")), len(events("bundle_replaced"))

    def is_back() -> bool:
        look()
        return current() == good and is_well() and served() == good

    took = until(is_back, ROLLS_BACK_S)
    return {
        "said": said,
        "good": good,
        "bad": bad,
        "took_s": took,
        "served": served(),
        "restarts": int(shown("NRestarts")) - restarts,
        "told": [event["MESSAGE"] for event in events("bundle_replaced")[told:]],
    }


def is_removed() -> None:
    begin = time.monotonic()
    said = run("dpkg", "-r", "multigraft")
    seen["remove"] = {
        "said": said[-500:],
        "took_s": round(time.monotonic() - begin, 1),
        "answers": asked("/healthz")[0],
        "there": there(),
    }


def comes_back() -> None:
    said = run("dpkg", "-i", "--force-confold", SECOND)
    seen["again"] = {"said": said[-500:], "took_s": until(is_well), "served": served(), "there": there()}


def is_purged() -> None:
    said = run("dpkg", "-P", "multigraft")
    left = [path for path in (BUNDLES, OPTIONS, UNIT_FILE, Path("/usr/lib/multigraft")) if path.exists()]
    seen["purge"] = {
        "said": said[-500:],
        "answers": asked("/healthz")[0],
        "left": list(map(str, left)),
        "there": there(),
    }


drive(
    installs,
    serves,
    upgrades,
    gets_a_good_bundle,
    refuses_what_fails_its_self_test,
    gets_one_that_does_not_fit,
    gets_one_that_crashes,
    gets_one_that_hangs,
    is_removed,
    comes_back,
    is_purged,
)
