"""How collecting shows itself: plain lines in a log, JSON for programs, a live view on a terminal."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest

from multigraft.calibration.collect.collect_events import CollectEvent
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.live_view import sentence, show_collecting

EVENT = CollectEvent(
    frames=1280, pending=5, skipped=12, rate_hz=9.87, active_s=130.0, precision=0.0312, temperature_c=71.4,
    is_throttled=True, store_bytes=2_500_000, free_bytes=12_000_000_000, kept=3,
)  # fmt: skip
OPTIONS = CollectOptions(frames=5000, minutes=30, precision=0.02)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_tells_all_that_is_known() -> None:
    assert sentence(EVENT, OPTIONS) == (
        "1,280 of 5,000 frames, 9.9/s, 2.2 of 30 min, CKA to ±0.031 (wanted ±0.02), 12 skipped, 3 kept, 71 °C, "
        "THROTTLED, 2.5 MB stored, 12.0 GB free"
    )
    unknown = dataclasses.replace(EVENT, precision=None, temperature_c=None, is_throttled=None, skipped=0, kept=0)
    assert sentence(unknown, CollectOptions()) == "1,280 frames, 9.9/s, 2.2 min, 2.5 MB stored, 12.0 GB free"


def test_a_log_gets_few_plain_lines_and_programs_every_event() -> None:
    log, lines = io.StringIO(), io.StringIO()
    with show_collecting(OPTIONS, stream=log) as report:
        for _ in range(5):
            report(EVENT)
    assert log.getvalue() == sentence(EVENT, OPTIONS) + "\n"
    with show_collecting(OPTIONS, as_json=True, stream=lines) as report:
        for _ in range(5):
            report(EVENT)
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert events == [{"event": "progress", **dataclasses.asdict(EVENT)}] * 5


def test_a_terminal_gets_a_live_view(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Terminal()
    with show_collecting(OPTIONS, stream=screen) as report:
        report(EVENT)
    text = screen.getvalue()
    for expected in ("1,280", "12 skipped", "throttled", "71.4", "Ctrl-C"):
        assert expected in text
