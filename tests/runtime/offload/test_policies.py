"""Policies are compared on the same frames, and every figure is of what its policy did."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.errors import UsageError
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.energy.estimate import TABLES, estimate
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.offload.policies import MOST_KEPT, POLICIES, compare_policies
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.offload.wire import model_name
from multigraft.runtime.result import Result
from multigraft.tensors.arrays import Array
from tests.exit_bundle import EXIT, build, policy
from tests.runtime.offload.oip_server import Models, OipServer, oip_server

FRAMES = 40
CUT, INPUT = "trunk/conv3", "image"
OTHER = 3
"""What the server answers, whatever it is asked."""
ALL = "always-local,always-remote,send-input,conditional"


def frames() -> Array:
    return np.random.default_rng(3).integers(0, 256, (FRAMES, 28, 28), np.uint8)


def bundle(threshold: float) -> Bundle:
    return build(policy(threshold), ("garment",), is_split=True)


def answered(engine: Engine) -> list[Classification]:
    """Of every frame."""
    found = []
    for frame in frames():
        answer = engine.run(frame).answers["garment"]
        assert isinstance(answer, Classification)
        found.append(answer)
    return found


def halving() -> float:
    """A threshold by which half of the frames leave."""
    return float(np.median([answer.score for answer in answered(Engine(bundle(0.0)))]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "frames.npy", frames())
    return bundle(halving()).write(tmp_path / "home.graft")


def models(engine: Engine) -> Models:
    def compute(_: dict[str, Array]) -> dict[str, Array]:
        outputs = np.zeros((1, 10), np.float32)
        outputs[0, OTHER] = 9
        return {"garment/out": outputs}

    found = {}
    for cut in (CUT, INPUT):
        names = (cut, f"{cut}:bits", f"{cut}:low", f"{cut}:step")
        found[model_name(engine.manifest, "garment", cut)] = names, compute
    return found


def compared(path: Path, server: OipServer, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    words = ["bench", str(path), "--policy", ALL, "--runs", str(FRAMES), "--warmup", "1", "--json", *more]
    words += [] if "--labelled" in more else ["--source", str(path.parent / "frames.npy")]
    assert main([*words, "--offload", server.url, "--offload-deadline", "20000"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    (task,) = told["tasks"]
    return {one["policy"]: one for one in task["policies"]}


def test_figures_are_of_what_each_policy_did(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early, whole = Engine(path), Engine(path, exits=False)
    table, manifest = TABLES["45nm"], whole.manifest
    left = [bool(early.run(frame).exits) for frame in frames()]
    assert 0.3 < np.mean(left) < 0.7
    others = answered(early)
    right = [truth.index for truth in answered(whole)]
    with oip_server(models(whole)) as server:
        told = compared(path, server, capsys, "--link", "5mbit,20ms")
        bodies = sum(int(headers["content-length"]) for method, _, headers in server.seen if method == "POST")
    local, remote, sent, mixed = (told[name] for name in ALL.split(","))
    assert (local["agreement"], local["bytes_sent"], local["server_rate"], local["exit_rate"]) == (1, 0, 0, 0)
    for one in (remote, sent):
        assert one["agreement"] == pytest.approx(np.mean([truth == OTHER for truth in right]))
        assert (one["server_rate"], one["exit_rate"], one["local_because"]) == (1, 0, {})
    mine = [o.index if is_early else OTHER for o, is_early in zip(others, left, strict=True)]
    assert mixed["agreement"] == pytest.approx(np.mean(np.array(mine) == right))
    assert mixed["exit_rate"] == np.mean(left) == 1 - mixed["server_rate"]
    assert mixed["local_because"] == {"early exit": sum(left)}
    assert mixed["bytes_sent"] == pytest.approx(remote["bytes_sent"] * (1 - np.mean(left)), rel=0.1)
    # The frame for warming up goes along in what the server has seen.
    assert (remote["bytes_sent"] + sent["bytes_sent"] + mixed["bytes_sent"]) * FRAMES <= bodies
    for one in (remote, sent):
        assert one["time_us"]["min"] > 20_000 + one["bytes_sent"] * 0.8 / 0.625
    assert mixed["time_us"]["min"] < 20_000
    parts = estimate(manifest, tuple(s.name for s in manifest.segments), table).segments_j
    assert local["estimated_device_energy_j"] == pytest.approx(sum(parts.values()) - parts[EXIT])
    assert remote["estimated_device_energy_j"] == pytest.approx(parts["trunk"] + parts["trunk_2"])
    assert sent["estimated_device_energy_j"] == 0
    assert parts["trunk"] < mixed["estimated_device_energy_j"] < sum(parts.values())


def test_jpeg_is_judged_by_what_a_server_would_decode(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server answers by its input, whose mean a coarse file moves little and whose noise it loses."""
    pytest.importorskip("PIL")
    seen: list[Array] = []

    def compute(given: dict[str, Array]) -> dict[str, Array]:
        seen.append(given[INPUT])
        return {"garment/out": np.eye(10, dtype=np.float32)[[OTHER]]}

    engine = Engine(path, exits=False)
    names = (INPUT, f"{INPUT}:bits", f"{INPUT}:low", f"{INPUT}:step")
    found: Models = {model_name(engine.manifest, "garment", INPUT): (names, compute)}
    words = ["bench", str(path), "--policy", "send-input,send-jpeg-95,send-jpeg-50", "--runs", "8", "--warmup", "0"]
    with oip_server(found) as server:
        words += ["--offload", server.url, "--offload-deadline", "20000", "--source", str(path.parent / "frames.npy")]
        assert main([*words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["tasks"][0]["policies"]
        assert main(words) == 0
        assert "JPEG needs a server that decodes it" in capsys.readouterr().out
    raw, fine, coarse = told
    assert fine["bytes_sent"] > coarse["bytes_sent"] > 100
    assert raw["server_rate"] == fine["server_rate"] == coarse["server_rate"] == 1
    assert len({values.tobytes() for values in seen}) == 3 * 8, "every quality shows the server other pixels"


def test_labels_make_it_accuracy(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled = path.parent / "labelled.npz"
    np.savez(labelled, frames=frames(), labels=np.full(FRAMES, OTHER))
    with oip_server(models(Engine(path))) as server:
        told = compared(path, server, capsys, "--labelled", str(labelled))
    assert told["always-remote"]["accuracy"] == told["send-input"]["accuracy"] == 1
    assert told["conditional"]["accuracy"] >= told["conditional"]["server_rate"]
    assert told["always-local"]["accuracy"] == told["always-remote"]["agreement"]


def test_a_gate_repeats_nothing_among_labelled_frames(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(policy(1e6, rule="change"), ("garment",), is_split=True).write(path)
    labelled = path.parent / "labelled.npz"
    np.savez(labelled, frames=frames(), labels=np.full(FRAMES, OTHER))
    with oip_server(models(Engine(path))) as server:
        stream = compared(path, server, capsys)
        told = compared(path, server, capsys, "--labelled", str(labelled))
    assert stream["conditional"]["exit_rate"] > 0.9
    assert told["conditional"]["exit_rate"] == 0


def test_several_tasks_are_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = build(policy(0.5), is_split=True).write(tmp_path / "two.graft")
    words = ["bench", str(two), "--policy", "always-local", "--runs", "2", "--link", "5mbit", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [task["task"] for task in told["tasks"]] == ["garment", "digit"]
    assert (told["link"]["bytes_per_s"], told["table"]) == (625_000, "45nm")


def test_a_server_that_fails_leaves_local_answers_and_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with oip_server(models(Engine(path))) as server:
        server.refusal = 503
        told = compared(path, server, capsys)
        for name in ("always-remote", "send-input"):
            assert (told[name]["agreement"], told[name]["server_rate"]) == (1, 0)
            assert sum(told[name]["local_because"].values()) == FRAMES
        words = ["bench", str(path), "--policy", "always-remote", "--runs", "2", "--offload", server.url]
        assert main([*words, "--offload-deadline", "1000"]) == 0
    out = capsys.readouterr().out
    assert "always-remote: 2 of 2 answers local" in out and "the radio is not in it" in out


def test_frames_are_taken_one_by_one(path: Path) -> None:
    engine, held = Engine(path, exits=False), []

    def source() -> Iterator[Array]:
        for number in range(60):
            frame = np.full((28, 28), number, np.uint8)
            held.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(one() is not None for one in held) <= MOST_KEPT + 1

    def connect(one: Engine, policy: str) -> Offloading:
        raise NotImplementedError

    (tally,) = compare_policies(
        ["always-local"], engine, engine, "garment", source(), connect, table=TABLES["45nm"], warmup=50
    )
    assert tally.frames == len(held) == 60 and tally.agreed == 60
    with pytest.raises(UsageError, match="no frames"):
        compare_policies(["always-local"], engine, engine, "garment", [], connect, table=TABLES["45nm"])


def test_a_frame_that_is_sent_itself_is_prepared_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hour_ns = 3600 * 10**9

    class Slow(Engine):
        def run(self, *frame: Any, **how: Any) -> Result:
            result = super().run(*frame, **how)
            begun = time.perf_counter_ns() - hour_ns
            times = [begun + hour_ns] * (len(result.latency_us) + 1)
            return Result(result.answers, tuple(result.latency_us), begun, times, times[0])

    engine = Slow(path, exits=False)
    with oip_server(models(engine)) as server:

        def connect(one: Engine, policy: str) -> Offloading:
            client = InferenceClient(Exchange(ServerAddress.parse(server.url)))
            return Offloading(one, ["garment"], client, 20.0, sends=POLICIES[policy] or "any")

        asked = "always-local", "always-remote", "send-input"
        told = compare_policies(asked, engine, engine, "garment", list(frames()[:2]), connect, table=TABLES["45nm"])
    assert [min(tally.times_us) >= hour_ns / 1000 for tally in told] == [True, True, False]


def test_an_open_token_is_told_of_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path.parent / "token").write_text("abc")
    # The address is none of those of this machine itself, and is not there.
    words = ["bench", str(path), "--policy", ALL, "--runs", "1", "--offload", "http://192.0.2.1:9"]
    assert main([*words, "--offload-token-file", str(path.parent / "token"), "--offload-deadline", "50"]) != 0
    assert capsys.readouterr().err.count("without encryption") == 1


def test_a_server_that_is_not_there_or_lacks_a_model_is_no_policy(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(path), "--runs", "2", "--policy"]
    assert main([*words, "always-remote", "--offload", "http://127.0.0.1:9"]) != 0
    assert "http://127.0.0.1:9" in capsys.readouterr().err
    engine = Engine(path)
    behind = model_name(engine.manifest, "garment", CUT)
    with oip_server({behind: models(engine)[behind]}) as server:
        assert main([*words, "send-input", "--offload", server.url]) != 0
    assert f"has no model {behind}_input; write it by multigraft export-tail" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "always-lokal"], "there is no policy 'always-lokal'; choose from: always-local"),
        (["--policy", "conditional"], "policy conditional asks a server; name it"),
        (["--policy", "always-local", "--link", "5"], "5 is no link"),
        (["--policy", "always-local", "--table", "45mm"], "there is no table 45mm"),
        (["--policy", "always-local", "--runs", "0"], "0 runs"),
        (["--policy", "always-local", "--labelled", "nothing.npz"], "nothing.npz"),
        (["--offload", "http://127.0.0.1:9"], "belong to --policy"),
        (["--labelled", "some.npz"], "belong to --policy"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(path), *words]) == 2
    assert said in capsys.readouterr().err
