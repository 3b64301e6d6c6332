"""The choice of layers: what gains most for what is lost, up to the budget, and int8 where that is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from multigraft.agreement.agreement import Agreement
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.one_bit.choosing import paired_us, with_one_bit
from multigraft.converters.one_bit.fit import Solver
from multigraft.converters.one_bit.report import OneBitLayer, OneBits
from multigraft.converters.one_bit.search import Trial, ranked, search
from multigraft.tflite.graph import Graph
from tests.converters.low_bit.networks import fitting, network


@pytest.fixture(scope="module")
def fit() -> Fitting:
    return fitting(network(), 24)


def shown(share: float) -> Mapping[str, Agreement]:
    return {"task": Agreement(share, share, 0.95, 100, "classification", None, "rule")}


def binary(graph: Graph) -> set[str]:
    """Layers with 1 bit."""
    return {op.outputs[0].split("/moved")[0] for op in graph.ops if op.outputs[0].endswith("/moved")}


def judge(graph: Graph) -> Mapping[str, Agreement]:
    """Every layer costs three hundredths."""
    return shown(1 - 0.03 * len(binary(graph)))


def test_what_gains_nothing_is_not_tried_and_the_most_for_its_noise_comes_first() -> None:
    trials = {("a", 1): Trial(0.1, 10, -5, 0, 0), ("b", 1): Trial(0.01, 10, -5, 0, 0), ("c", 1): Trial(0, 90, 5, 0, 0)}
    assert ranked(trials, lambda trial: -trial.latency_us) == [("b", 1), ("a", 1)]


def test_the_search_stops_at_the_budget(fit: Fitting, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a layer's time is here and now must not decide whether it is tried.
    monkeypatch.setattr("multigraft.converters.one_bit.search.alone_us", lambda graph, layer: float(len(graph.ops)))
    monkeypatch.setattr("multigraft.converters.one_bit.search.latency_us", lambda graph, feed: 1e9)
    found = search(Solver(fit), judge, {"task": 0.94})
    assert len(found.choice) == 2 and binary(found.solved.graph) == set(found.choice)
    assert found.missed and not {name for name, _ in found.missed} & set(found.choice)
    assert {name for name, _ in found.trials} == {"wide", "narrow", "down", "deep"}
    assert not search(Solver(fit), judge, {"task": 0.99}).choice


def test_all_convolutions_between_have_1_bit_where_that_is_asked_for(fit: Fitting) -> None:
    said: list[str] = []
    graph, told = with_one_bit(fit, "1bit", judge, {"task": 0.99}, said.append)
    assert binary(graph) == {"wide", "narrow", "down", "deep"} == {layer.tensor for layer in told.layers}
    assert told.refitted == ("classes",) and told.after["task"].value == pytest.approx(0.88)
    down = next(layer for layer in told.layers if layer.tensor == "down")
    assert down.bytes_before == 9 * 16 * 64 and 9 * 4 * 64 < down.bytes_after < down.bytes_before
    assert "latency_us" not in str(told.to_json()) and len(told.to_json()["layers"]) == 4
    assert any("try layers with 1 bit" in line for line in said)


def one(latency_us: float, memory: int, layers: int = 1) -> OneBits:
    layer = OneBitLayer("deep", "CONV_2D", 1, 4000, 600, 0.2, 12.0, -3.0)
    return OneBits(
        "auto-1bit",
        (layer,) * layers,
        3,
        4 << 20,
        memory,
        minimum=0.9,
        latency_before_us=100.0,
        latency_after_us=latency_us,
        missed=("wide",),
    )


def test_the_report_says_what_was_gained_and_when_int8_is_the_better_answer() -> None:
    assert not one(80, 4 << 20).is_int8_better and not one(120, 3 << 20).is_int8_better
    slower = one(104, 4_152_360)
    assert slower.is_int8_better
    assert "int8 is the better answer: 1 bit saves -4.0 % of the time and 1.0 % of the memory." in slower.sentences()
    assert slower.declined().sentences()[-1].endswith("so int8 is kept.")
    none = one(100, 4 << 20, 0).sentences()[-1]
    assert "none of 3 convolutions gains by 1 bit and keeps an agreement of at least 0.9" in none
    told = "\n".join(one(80, 4 << 20).sentences())
    assert "1 bit in deep (CONV_2D): 4,000 become 600 bytes, alone it leaves 12.0 dB at the outputs, -3 us" in told
    assert "given up, since too many answers changed: wide" in told
    nothing = dataclasses.replace(one(100, 4 << 20, 0), candidates=0)
    assert "between a first and a last layer" in nothing.sentences()[-1]


def test_two_graphs_are_timed_in_turn(fit: Fitting) -> None:
    assert min(paired_us(fit.int8, fit.int8, fit.feeds[0])) > 0
