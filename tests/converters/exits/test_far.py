"""Gates for far frames through the command line, with the real converter, and what becomes of frames that are few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.exits.far import calibrate_far, made_up, told_far, whitening
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import Plan, Planned
from multigraft.exits.thresholds import Asked
from multigraft.runtime import Engine
from tests.converters.exits.gated_build import gated
from tests.converters.graft.networks import frames
from tests.exit_bundle import EXIT, LOGITS, build, policy

ALLOWED = 0.05
Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, onnx2tf_environment: object) -> Path:
    return gated(tmp_path_factory.mktemp("far"), "far", ALLOWED, frames(900, seed=3))


def share_unknown(engine: Engine, shown: Sequence[Picture]) -> float:
    return float(np.mean([bool(engine.run(frame).exits) for frame in shown]))


def test_frames_like_those_given_are_seldom_unknown_and_others_often(built: Path) -> None:
    (gate,) = Bundle.open(built).manifest.task("first").exits
    assert gate.is_far and gate.promise.disagreed <= ALLOWED * gate.promise.frames
    engine = Engine(built)
    like = frames(1000, seed=8)
    # The promise, and what so many frames scatter beyond it at most once in 1,000 times.
    assert share_unknown(engine, like) <= ALLOWED + 3.1 * np.sqrt(ALLOWED * (1 - ALLOWED) / len(like))
    assert not engine.exits_to_json()[gate.segment]["drifted"]
    assert share_unknown(engine, list(np.random.default_rng(1).integers(0, 256, (50, *like[0].shape), np.uint8))) > 0.9


def test_commands_tell_of_it(built: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", str(built)]) == 0
    assert "gate_first" in capfd.readouterr().out
    noise = np.random.default_rng(2).integers(0, 256, (60, *frames(1)[0].shape), np.uint8)
    np.save(tmp_path / "noise.npy", noise)
    assert main(["run", str(built), "--source", str(tmp_path / "noise.npy")]) == 0
    told = capfd.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert {"label": "unknown", "index": -1, "score": 0.0} in [line["answers"]["first"] for line in lines]
    assert "what the device sees has changed" in told.err
    assert main(["firmware", str(built), "--board", "nucleo-f446re", "-o", str(tmp_path / "fw")]) == 0
    assert "note: firmware takes no gates, so that first of" in capfd.readouterr().err


def test_what_is_made_up_has_the_form_of_a_frame() -> None:
    given = list(frames(4))
    for frame in made_up(given):
        assert (frame.shape, frame.dtype) == (given[0].shape, given[0].dtype)


def test_whitened_features_have_variance_one_and_no_correlation() -> None:
    random = np.random.default_rng(4)
    features = (random.standard_normal((2000, 6)) @ random.standard_normal((6, 6)) + 3).astype(np.float32)
    head = whitening(features, 1)
    white = features @ head.weight + head.bias
    assert np.abs(np.cov(white.T) - np.eye(6)).max() < 0.2
    assert np.abs(white.mean(axis=0)).max() < 1e-2
    assert head.ends[1] >= np.linalg.norm(head.predicted, axis=1).max() - 1e-9


def test_where_no_layer_is_looked_at_it_is_said_which_are() -> None:
    assert told_far("garment", Plan((), 0.0)).endswith("behind layers of up to 128 channels")


def test_too_few_frames_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    nothing = np.zeros((50, 10), np.float32)
    head = Head(1, np.zeros((16, 10), np.float32), np.zeros(10, np.float32), nothing.astype(float))
    place = Place("trunk", "trunk/conv2", (16, 14, 14), 1, True)
    planned = Planned(place, head, "far", 1.0, np.array([1e6]), 0.05, np.ones(50, bool), nothing)
    one = Inserted("garment", EXIT, LOGITS, planned)
    bundle, asked = build(policy(3.0, rule="far")), Asked("marginal", 0.05, 0.95)
    shown = list(np.random.default_rng(3).integers(0, 256, (59, 28, 28), np.uint8))
    assert calibrate_far(bundle, one, shown[:58], asked, said.append) is None
    assert "give more frames, or allow more" in said[0]
    found = calibrate_far(bundle, one, shown, asked, said.append)
    assert found is not None and found.threshold == 1e6 and found.promise.frames == 59
    monkeypatch.setattr("multigraft.converters.exits.far.squared", lambda stored, spec: float("nan"))
    assert calibrate_far(bundle, one, shown, asked, said.append) is None, "what is no number is far on the device"
