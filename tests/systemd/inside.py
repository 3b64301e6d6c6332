"""What programs inside the container share: the standard library alone, as root."""

from __future__ import annotations

import json
import re
import subprocess
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path("/srv/results")
UNIT = "multigraft"
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


def served() -> str:
    """Digest of the bundle that answers."""
    found = re.search(r'bundle_info\{.*sha256="([0-9a-f]+)"', asked("/metrics")[1])
    return found[1] if found else ""


def drive(*steps: Callable[[], None]) -> None:
    """Do each, and write down what was seen after every one."""
    for step in steps:
        begin = time.monotonic()
        try:
            step()
        except Exception:
            seen.setdefault("broken", {})[step.__name__] = traceback.format_exc()
        seen.setdefault("seconds", {})[step.__name__] = round(time.monotonic() - begin, 1)
        (RESULTS / "results.json").write_text(json.dumps(seen, indent=1))
        (RESULTS / "journal.txt").write_text(run("journalctl", "--no-pager", "-o", "short-monotonic"))
