"""``multigraft run --show``: the live page of what ``run`` does."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.cli.main import main
from tests.bundle_builder import build
from tests.runtime.service.served import Served, free_port


def test_run_shows_what_it_prints(tmp_path: Path) -> None:
    build().bundle.write(tmp_path / "home.graft")
    port, log = free_port(), tmp_path / "log.txt"
    command = [sys.executable, "-m", "multigraft", "run", str(tmp_path / "home.graft"), "--source", "fake:40x30"]
    with log.open("wb") as errors, (tmp_path / "lines.jsonl").open("wb") as lines:
        process = subprocess.Popen([*command, "--show", "--listen", f"127.0.0.1:{port}"], stdout=lines, stderr=errors)
        shown = Served(process, port, log)
        try:
            shown.until(lambda: _has_frames(shown))
            state = shown.json("/live/state")
            picture = shown.ask("/live/picture")
            body = json.dumps({"inputs": []}).encode()
            refused = shown.ask("/v2/models/test/infer", "POST", body)
        finally:
            process.terminate()
            process.wait(60)
    printed = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()[:-1]]
    assert f"live page: http://127.0.0.1:{port}/" in log.read_text()
    assert set(state["words"]) == {"garment", "digit"} and len(printed) >= state["frames"]
    assert picture[0] == 200 and picture[2].startswith(b"\xff\xd8")
    # There is no loop that could leave requests a part of its time.
    assert refused[0] == 404


def _has_frames(shown: Served) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return bool(shown.json("/live/state")["frames"])
    return False


def test_an_address_without_a_page_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build().bundle.write(tmp_path / "home.graft")
    arguments = ["run", str(tmp_path / "home.graft"), "--source", "fake:frames=1", "--listen", "127.0.0.1:1"]
    assert main(arguments) == 2
    assert "add --show" in capsys.readouterr().err
