"""What a cut costs on a link, in bytes and microseconds that add up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.errors import UsageError
from multigraft.runtime import Engine
from multigraft.runtime.benchmark import Distribution, Timing
from multigraft.runtime.offload.cuts import segments_before
from multigraft.runtime.offload.link import Link
from multigraft.runtime.offload.split_choice import SHOWN_BITS, splits_of
from tests.bundle_builder import assemble, build
from tests.exit_bundle import EXIT, LOGITS, policy
from tests.tflite_builder import Graph


def of(us: float) -> Distribution:
    return Distribution.of([us])


TIMING = Timing(of(1000), of(50), {"trunk": of(600), "head_digit": of(300)}, of(50), of(950))


def test_a_link_is_read() -> None:
    assert Link.parse("5mbit,200ms") == Link(625_000, 0.2)
    assert Link.parse("1gbit") == Link(125_000_000)
    assert Link(625_000, 0.2).seconds_for(62_500) == pytest.approx(0.3)
    for text in ("5", "mbit", "5mb,1ms", "0mbit", "5mbit,ms", "1..2mbit", "9" * 400 + "gbit"):
        with pytest.raises(UsageError, match="5mbit,200ms"):
            Link.parse(text)


def test_times_and_bytes_of_every_cut_and_number_of_bits() -> None:
    engine = Engine(build().bundle)
    frames = [np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)]
    splits = splits_of(engine, "digit", frames, TIMING, Link(1e6, 0.01))
    assert {(s.cut, s.bits) for s in splits} == {(cut, bits) for cut in ("image", "trunk/conv2") for bits in SHOWN_BITS}
    for split in splits:
        assert split.edge_us > (650 if split.cut == "trunk/conv2" else 50)
        assert split.link_us == pytest.approx(10_000 + split.bytes_sent)
        assert split.server_may_take_us == pytest.approx(1000 - split.edge_us - split.link_us)
    sizes = {(s.cut, s.bits): s.bytes_sent for s in splits}
    assert sizes["image", 8] > sizes["image", 4] > sizes["image", 2]
    assert [s.edge_us + s.link_us for s in splits] == sorted(s.edge_us + s.link_us for s in splits)
    assert segments_before(engine.manifest, "digit", "trunk/conv2") == ("trunk",)


def test_bench_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(build().bundle.write(tmp_path / "home.graft"))
    words = ["bench", path, "--runs", "3", "--warmup", "1", "--link"]
    assert main([*words, "1kbit"]) == 0
    out = capsys.readouterr().out
    assert "digit on 1kbit" in out and "local is faster" in out
    assert main([*words, "5mbit,20ms", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["link"] == {"bytes_per_s": 625_000, "round_trip_s": 0.02}
    assert len(told["splits"]["garment"]) == 6
    assert main([*words, "fast"]) == 2
    assert "is no link" in capsys.readouterr().err


def test_cuts_behind_an_exit_that_all_frames_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph(seed=7)
    front = graph.conv("front/out", graph.input("image", (1, 28, 28, 1)), 8)
    early = graph.dense(LOGITS, graph.mean("exit/mean", front), 10)
    back = graph.conv("back/out", front, 16, stride=2)
    out = graph.dense("digit/out", graph.mean("digit/mean", back), 10)
    segments = {"front": ["front/out"], EXIT: ["exit/mean", LOGITS], "back": ["back/out"], "head": ["digit/mean", out]}
    whole = assemble(graph, segments, {"digit": ("classification", out, ()), "e": ("classification", early, ())}).bundle
    bundle = whole.with_tasks([dataclasses.replace(whole.manifest.tasks[0], exits=(policy(0.0),))])
    path = str(bundle.write(tmp_path / "home.graft"))
    assert main(["bench", path, "--runs", "3", "--warmup", "1", "--link", "5mbit"]) == 0
    assert "back/out" in capsys.readouterr().out
