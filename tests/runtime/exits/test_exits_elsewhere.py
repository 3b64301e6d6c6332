"""What else uses an engine takes no exits where it needs the whole network, and counts nothing in their audits."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.crops import On
from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.crop_timing import measure_crops
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.offloading import Offloading, Origin
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.scheduling.measuring import measure_times
from multigraft.runtime.service.asked import Asked, Requests
from tests.exit_bundle import EXIT, build, policy

ALWAYS = 0.0
FRAME = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)


def on_boxes() -> Bundle:
    """The task with the exit looks at boxes of the other."""
    bundle = build(policy(ALWAYS, audited=1.0))
    garment, digit = bundle.manifest.tasks
    return bundle.with_tasks([dataclasses.replace(garment, on=On(digit.name)), digit])


def test_made_up_boxes_are_timed_without_exits() -> None:
    engine = Engine(on_boxes())
    measure_times(engine, lambda: FRAME, ("garment",), rounds=2, rest_s=0)
    measure_crops(engine, FRAME, ("garment",), 2, 1)
    assert engine.gates[EXIT].reached == engine.gates[EXIT].audit.audited == 0


def test_frames_of_clients_are_answered_by_whole_networks() -> None:
    bundle = build(policy(ALWAYS, audited=1.0))
    engine, told = Engine(bundle), list[dict[str, Any]]()
    requests = Requests(engine, Counter())
    requests.put(Asked(requests.models()[0]["name"], {"frame": FRAME}, ("garment",), told.append))
    assert requests.serve(lambda: False)
    right = Engine(bundle, exits=False).run(FRAME).answers["garment"]
    assert json.loads(told[0]["outputs"]["garment"][0]) == right.to_json()
    assert engine.gates[EXIT].reached == 0


def test_a_frame_that_left_early_sends_no_tensor_of_an_earlier_frame() -> None:
    engine = Engine(build(policy(ALWAYS), is_split=True))
    client = InferenceClient(Exchange(ServerAddress.parse("http://127.0.0.1:9")))
    offloading = Offloading(engine, ["garment", "digit"], client, 0.5)
    result = engine.run(FRAME)
    frames = dict.fromkeys(result.answers, FRAME)
    answers, origins = offloading.improve(frames, result.answers, 0.0, result.exits)
    assert answers == result.answers
    assert origins["garment"] == Origin(False, "early exit")
    assert origins["digit"].why != "early exit"


def test_cut_points_behind_an_exit_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(build(policy(ALWAYS), ("garment",), is_split=True).write(tmp_path / "home.graft"))
    assert main(["bench", path, "--runs", "3", "--warmup", "1", "--link", "5mbit,20ms", "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]["garment"]
    assert {split["cut"] for split in splits} == {"image", "trunk/conv2", "trunk/conv3"}
