"""The choice of layers: the most memory for what is lost, up to the budget, and int8 where that is better."""

from __future__ import annotations

from collections.abc import Mapping

from multigraft.agreement.agreement import Agreement
from multigraft.converters.low_bit.layer import Bits
from multigraft.converters.low_bit.memory import memory_bytes, values_bytes
from multigraft.converters.low_bit.report import LowBits, LowLayer
from multigraft.converters.low_bit.search import Move, Trial, chosen, ordered, search
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder
from tests.converters.low_bit.networks import fitting, network


def trial(saved: int, noise: float, latency_us: float = 0.0) -> Trial:
    return Trial(saved, noise, 20.0, latency_us)


def test_what_saves_most_for_what_it_loses_comes_first_and_a_layers_moves_keep_their_order() -> None:
    trials: dict[tuple[str, Bits], Trial] = {
        ("a", 4): trial(100, 0.001),
        ("a", 2): trial(150, 0.101),
        ("b", 4): trial(50, 0.1),
        ("b", 2): trial(75, 0.1),
    }
    moves = ordered(trials, 1000.0)
    assert [(m.layer, m.bits) for m in moves] == [("a", 4), ("b", 2), ("a", 2)]
    assert (moves[2].saved, round(moves[2].noise, 3)) == (50, 0.1)
    assert chosen(moves[:1]) == {"a": 4} and chosen(moves) == {"a": 2, "b": 2}


def test_time_counts_as_well() -> None:
    trials: dict[tuple[str, Bits], Trial] = {("slow", 2): trial(100, 0.1, 500.0), ("fast", 2): trial(90, 0.1, 0.0)}
    assert [m.layer for m in ordered(trials, 1000.0)] == ["fast", "slow"]
    assert isinstance(ordered(trials, 1000.0)[0], Move)


def shown(share: float) -> Mapping[str, Agreement]:
    return {"task": Agreement(share, share, 0.95, 100, "classification", None, "rule")}


def bits_of(graph: Graph) -> dict[str, int]:
    bits = {"int4": 4, "int2": 2}
    return {op.outputs[0]: bits[d] for op in graph.ops if (d := graph.tensors[op.inputs[1]].dtype) in bits}


def test_the_search_stops_at_the_budget() -> None:
    fit = fitting(network(), 24)

    def judge(graph: Graph) -> Mapping[str, Agreement]:
        """Every layer costs three hundredths."""
        return shown(1 - 0.03 * len(bits_of(graph)))

    found = search(fit, judge, {"task": 0.90})
    assert 0 < len(found.choice) <= 3 and bits_of(found.solved.graph) == found.choice
    assert found.agreement["task"].lower_bound >= 0.90
    assert memory_bytes(found.solved.graph) < memory_bytes(fit.int8)
    assert not search(fit, lambda graph: shown(0.5 if bits_of(graph) else 1.0), {"task": 0.9}).choice


def test_the_report_says_when_int8_is_the_better_answer() -> None:
    assert "none of 3 layers" in LowBits("auto", (), 3, 1000, 1000, minimum=0.9).sentences()[-1]
    layer = LowLayer("deep", "CONV_2D", 2, 400_000, 100_000, 0.1)
    small, large = (LowBits("auto", (layer,), 1, before, before // 2) for before in (600_000, 6_000_000))
    assert "better answer for memory: few bits save 300,000 bytes" in small.sentences()[-1] and small.is_int8_better
    assert not large.is_int8_better and "better" not in large.sentences()[-1]
    assert "no layer here" in LowBits("2bit", (), 0, 1000, 1000).sentences()[-1]


def test_values_live_as_long_as_they_are_read() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 4, 4, 2)
    first = b.op("RELU", "first", [x], (1, 4, 4, 2))
    second = b.op("RELU", "second", [first], (1, 4, 4, 2))
    assert values_bytes(b.graph(second)) == 2 * 4 * 32
    assert values_bytes(b.graph(b.op("ADD", "sum", [x, second], (1, 4, 4, 2)))) == 3 * 4 * 32
