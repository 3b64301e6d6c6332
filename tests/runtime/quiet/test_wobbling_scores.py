"""A score that wobbles around a threshold is no news: ``run --events`` and what an MQTT broker is told."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from multigraft.answers.detections import Detections, no_detections
from multigraft.cli.main import main
from multigraft.runtime.mqtt.broker import Broker
from multigraft.runtime.mqtt.publisher import Publisher, rule_for
from multigraft.runtime.quiet.hysteresis import Hysteresis
from multigraft.runtime.quiet.steady import USUAL, Rule
from tests.box_bundle import box_bundle, bright_frames

WAVE = [0.05 * math.sin(2 * math.pi * frame / 24) for frame in range(240)]
"""Ten times up and down; each half is longer than any patience."""


def seen(score: float, lowest: float) -> Detections:
    """What the task answers where its network gives a box this score."""
    if score < lowest:
        return no_detections()
    box = np.array([[0, 0, 9, 9]], np.float32)
    return Detections(box, np.array([score], np.float32), np.zeros(1, np.int32), ("line",))


def told(folder: Path, scores: list[float], rule: Rule = USUAL) -> list[str]:
    """Events for a broker that never answers."""
    manifest = box_bundle().manifest
    publisher = Publisher(Broker("127.0.0.1", 1), manifest, None, "ab" * 32, folder, lambda: None, rule=rule)
    answer = manifest.task("line").answer
    assert answer is not None
    for score in scores:
        publisher.answered({"line": seen(score, answer.score_threshold)})
    return [event["event"] for event in publisher._events]


def test_a_broker_is_told_once_of_a_score_that_wobbles(tmp_path: Path) -> None:
    answer = box_bundle().manifest.task("line").answer
    assert answer is not None
    lowest, enter = answer.score_threshold, rule_for(box_bundle().manifest.task("line"), USUAL).enter
    assert enter is not None and lowest < enter < lowest + 0.1
    # Around the score to enter at: it is there from the first time on. Around the lowest: never sure.
    assert told(tmp_path, [enter + wave for wave in WAVE]) == ["appears"]
    assert told(tmp_path, [lowest + wave for wave in WAVE]) == []
    # Once sure, it leaves once.
    assert told(tmp_path, [0.9] + [lowest + wave for wave in WAVE]) == ["appears", "vanishes"]
    # Gaps no longer than the patience are none, and what lies between keeps it, however weak.
    weak = [0.9] + [0.0, 0.0, 0.0, 0.0, 0.0, lowest + 0.01] * 20
    assert told(tmp_path, weak) == ["appears"]
    assert told(tmp_path, [0.9, *[0.0] * 6, 0.9]) == ["appears", "vanishes", "appears"]


def test_thresholds_of_ones_own(tmp_path: Path) -> None:
    rule = Rule(5, 0.7, 0.5, 2)
    assert told(tmp_path, [0.6 + wave for wave in WAVE], rule) == []
    assert told(tmp_path, [0.8, *(0.6 + wave for wave in WAVE)], rule) == ["appears"]
    assert told(tmp_path, [0.8, 0.4, 0.4, 0.6, 0.4, 0.4, 0.6, 0.4, 0.4, 0.4], rule) == ["appears", "vanishes"]


def test_patience_counts_frames_in_a_row() -> None:
    state = Hysteresis(0.6, 0.4, patience=2)
    scores = [0.7, 0.3, 0.3, 0.5, 0.3, math.nan, 0.3, 0.3, 0.5, 0.6]
    assert [state.step(score) for score in scores] == [*[True] * 7, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "events"),
    [
        ([], ["appears", "vanishes"] * 4),
        (["--enter", "0.5", "--leave", "0.4"], ["appears", "vanishes"] * 4),
        (["--enter", "0.5", "--leave", "0.3"], ["appears"]),
        (["--enter", "0.5", "--leave", "0.4", "--steady", "3"], ["appears"]),
        (["--steady", "3"], ["appears"]),
    ],
)
def test_run_prints_one_event_for_a_score_that_wobbles(
    arguments: list[str], events: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box_bundle().write(tmp_path / "home.graft")
    levels = [80, 80, 60, 60, 60] * 4 if arguments and "--leave" in arguments else [80, 80, 20, 20, 20] * 4
    frames = bright_frames(*[20] * len(levels))
    np.save(
        tmp_path / "frames.npy",
        np.stack([np.minimum(f, np.uint8(level)) for f, level in zip(frames, levels, strict=True)]),
    )
    source = str(tmp_path / "frames.npy")
    assert (
        main(["run", str(tmp_path / "home.graft"), "--tasks", "line", "--source", source, "--events", *arguments]) == 0
    )
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == events


def test_serve_and_its_unit_take_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--steady", "7", "--enter", "0.6", "--leave", "0.45"]
    install = ["service", "install", "--print", "--source", "fake:"]
    assert main([*install, *words, "--mqtt", "mqtt://broker"]) == 0
    assert "--steady 7 --enter 0.6 --leave 0.45" in capsys.readouterr().out
    assert main([*install, *words]) == 2
    assert "--mqtt" in capsys.readouterr().err
    assert main(["serve", "none.graft", "--mqtt", "mqtt://broker", "--enter", "0.6"]) == 78
    assert "--leave" in capsys.readouterr().err
