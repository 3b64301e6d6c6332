"""Plans: the budget picks the point, overrides win, and the assembled graph answers as the grafts did."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.plan_latency import PlanLatency
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult, SharingPlan
from multigraft.converters.job.effort import MEDIUM
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network, session_of
from multigraft.converters.planning.planner import cost_of_plans, plan_sharing
from multigraft.converters.settings.settings import Prefer
from multigraft.converters.similarity.representations import SimilarityTable, measure_similarity
from multigraft.errors import InputError
from tests.converters.graft.networks import GREY, frames, model, perturbed, residual_network

PARENT = residual_network("first", 0)
NETWORKS = (PARENT, perturbed(PARENT, "relative", 0.01), residual_network("stranger", 5))
EVIDENCE = {n.name: Evidence(frames(160, seed=1), frames(300, seed=2)) for n in NETWORKS}


@pytest.fixture(scope="module")
def similarity() -> SimilarityTable:
    return measure_similarity(NETWORKS, EVIDENCE["first"].fit)


def planned(similarity: SimilarityTable, limits: Limits, share: Mapping[str, str] | None = None) -> PlanningResult:
    return plan_sharing(NETWORKS, EVIDENCE, similarity, limits, SearchOptions(share=share or {}))


@pytest.fixture(scope="module")
def outcome(similarity: SimilarityTable) -> PlanningResult:
    return planned(similarity, Limits(min_agreement=0.9))


def test_the_smallest_plan_that_keeps_the_budget_is_chosen(outcome: PlanningResult) -> None:
    assert outcome.chosen.lower_bound >= 0.9
    better = [p for p in outcome.front if p.weights < outcome.chosen.weights]
    assert all(p.lower_bound < 0.9 for p in better)
    assert "relative" in outcome.chosen.grafts


def test_progress_ends_with_all_steps_and_the_point_that_is_taken(similarity: SimilarityTable) -> None:
    said: list[str] = []
    made = plan_sharing(NETWORKS, EVIDENCE, similarity, Limits(min_agreement=0.9), SearchOptions(), said.append)
    found = [re.fullmatch(r"search: step (\d+) of about (\d+)(.*)", line) for line in said]
    steps = [match for match in found if match is not None]
    assert [int(match[1]) for match in steps if int(match[1]) < len(made.evaluated)]
    assert int(steps[-1][1]) == int(steps[-1][2]) == len(made.evaluated)
    bound, share = made.chosen.lower_bound, made.chosen.weights / sum(n.weights for n in NETWORKS)
    assert f"{share:.2f} of the weights" in steps[-1][3] and f"bound of {bound:.3f}" in steps[-1][3]


def test_each_task_keeps_what_is_asked_of_it_and_no_more(similarity: SimilarityTable) -> None:
    strict = planned(similarity, Limits(min_agreement=0.9, least_agreements={"relative": 0.9999}))
    assert "relative" not in strict.chosen.grafts
    uneven = planned(similarity, Limits(min_agreement=0.9, least_agreements={"stranger": 0.4}))
    bounds = {name: graft.shown.lower_bound for name, graft in uneven.chosen.grafts.items()}
    assert bounds["relative"] >= 0.9 > bounds["stranger"] >= 0.4
    assert uneven.limits.keeps_agreement(uneven.chosen) and not Limits(0.9).keeps_agreement(uneven.chosen)


def test_the_front_holds_no_plan_that_another_covers(outcome: PlanningResult) -> None:
    assert not any(a.covers(b, Limits()) for a in outcome.front for b in outcome.front if a is not b)
    assert any(not p.grafts for p in outcome.front)


def test_no_sharing_when_no_graft_can_show_the_agreement(similarity: SimilarityTable) -> None:
    outcome = planned(similarity, Limits(min_agreement=0.9999))
    assert not outcome.chosen.grafts and "nothing shared" in outcome.message
    apart = assemble(NETWORKS, outcome.chosen)
    assert len(apart.segments) == len(NETWORKS) and len(apart.inputs) == len(NETWORKS)


def test_why_nothing_was_tried_is_told_as_it_is(similarity: SimilarityTable) -> None:
    alone = plan_sharing(NETWORKS[:1], EVIDENCE, similarity, Limits(), SearchOptions())
    assert alone.message == "nothing shared: first is the only network, and sharing needs two"
    apart = planned(similarity, Limits(), {n.name: "none" for n in NETWORKS})
    assert apart.message == 'nothing shared: [graft] share = "none" keeps first, relative and stranger apart'


def test_limits_that_no_plan_keeps_are_told_and_the_nearest_plan_is_taken(similarity: SimilarityTable) -> None:
    """Both limits are impossible, the one of MACs by more."""
    outcome = planned(similarity, Limits(min_agreement=0.9, max_weights_bytes=10, max_macs=1))
    kept = [p for p in outcome.front if p.lower_bound >= 0.9]
    assert outcome.chosen.macs == min(p.macs for p in kept)
    misses = {miss.key: (miss.figure, miss.limit) for miss in outcome.limits.missed(outcome.chosen)}
    assert misses == {"max_weights_bytes": (outcome.chosen.weights, 10), "max_macs": (outcome.chosen.macs, 1)}
    assert f"max_macs = 1 (it has {outcome.chosen.macs})" in outcome.message


def brightness_network() -> Network:
    """The mean of a blur in three classes: its adapter to another network's last features saves most of its MACs, and
    is larger than the few weights it replaces."""
    rng = np.random.default_rng(3)
    constants = {
        "w0": np.abs(rng.normal(size=(4, 1, 3, 3))).astype(np.float32) / 9,
        "b0": np.zeros(4, np.float32),
        "w1": np.array([[-4, -4, -4, -4], [0, 0, 0, 0], [4, 4, 4, 4]], np.float32),
        "b1": np.zeros(3, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c0"], ["stem"]),
        helper.make_node("GlobalAveragePool", ["stem"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["logits"], transB=1),
    ]
    return Network("light", model(nodes, constants, (1, 8, 8), {"logits": (3,)}), GREY, "classification")


@pytest.mark.parametrize("prefer", ["weights", "macs"])
def test_what_is_preferred_decides_and_the_message_says_so_with_the_same_numbers(prefer: Prefer) -> None:
    pair = (PARENT, brightness_network())
    evidence = {n.name: EVIDENCE["first"] for n in pair}
    table = measure_similarity(pair, EVIDENCE["first"].fit)
    share = {"first": "none"}
    outcome = plan_sharing(pair, evidence, table, Limits(0.3, prefer=prefer), SearchOptions(share=share, enough=0.3))
    apart = next(p for p in outcome.front if not p.grafts)
    sharing = min((p for p in outcome.front if p.grafts and p.lower_bound >= 0.3), key=lambda p: p.macs)
    assert sharing.macs < apart.macs and sharing.weights > apart.weights
    if prefer == "macs":
        assert outcome.chosen == sharing and outcome.message.startswith("plan of fewest MACs")
    else:
        assert outcome.chosen == apart
        assert f"keeps a bound of {sharing.lower_bound:.3f}" in outcome.message
        assert f"weights ({sharing.weights - apart.weights:+,})" in outcome.message
        assert f"{100 * (1 - sharing.macs / apart.macs):.2f} % fewer MACs" in outcome.message
        assert 'prefer = "macs" takes it' in outcome.message


def test_every_part_of_a_plan_is_timed_once_and_the_fastest_plan_costs_least(outcome: PlanningResult) -> None:
    latency = PlanLatency(NETWORKS)
    times = [latency(plan) for plan in outcome.front]
    assert min(times) > 0 and times == [latency(plan) for plan in outcome.front]
    cost = cost_of_plans(Limits(prefer="latency"), latency)
    assert min(times) == latency(min(outcome.front, key=cost))


def test_latency_is_on_the_front_and_decides_where_it_is_preferred(similarity: SimilarityTable) -> None:
    plain = SharingPlan({}, 100, 100, latency_us=10.0)
    slow, fast = SharingPlan({}, 90, 90, latency_us=20.0), SharingPlan({}, 120, 120, latency_us=5.0)
    assert not any(a.covers(b, Limits()) for a, b in itertools.permutations((plain, slow, fast), 2))
    assert SharingPlan({}, 100, 100, latency_us=10.3).covers(plain, Limits()), "timings differ by more"
    assert SharingPlan({}, 90, 90).covers(plain, Limits()), "what was not timed is not slower"
    for prefer in ("weights", "latency"):
        outcome = planned(similarity, Limits(min_agreement=0.9, prefer=prefer))
        times = [point["latency_us"] for point in outcome.pareto_json() if point["meets_budget"]]
        assert min(times) > 0 and sum(point["chosen"] for point in outcome.pareto_json()) == 1
        if prefer == "latency":
            assert outcome.chosen.latency_us == min(times)
            assert not any(
                a.covers(b, Limits()) for a, b in itertools.permutations(outcome.front, 2) if b != outcome.chosen
            )


def test_an_override_wins_over_the_budget_and_says_so(similarity: SimilarityTable) -> None:
    outcome = planned(similarity, Limits(min_agreement=0.9999), {"stranger": "block"})
    assert outcome.chosen.grafts["stranger"].join.donor_point.label == "block"
    assert "misses the agreement budget" in outcome.message


def test_none_keeps_a_task_apart(similarity: SimilarityTable) -> None:
    outcome = planned(similarity, Limits(min_agreement=0.5), {"stranger": "none"})
    assert "stranger" not in outcome.chosen.grafts


def test_an_unknown_layer_is_named(similarity: SimilarityTable) -> None:
    with pytest.raises(InputError, match="no cut point 'nowhere'"):
        planned(similarity, Limits(), {"stranger": "nowhere"})


def test_the_assembled_graph_answers_as_its_parts(similarity: SimilarityTable) -> None:
    outcome = planned(similarity, Limits(min_agreement=0.5), {"stranger": "stem"})
    joined = assemble(NETWORKS, outcome.chosen)
    session = session_of(joined.model, "joined")
    frame = frames(1, seed=3)
    outputs = [o for t in joined.tasks for o in t.outputs]
    given = dict(zip(outputs, session.run(outputs, {PARENT.input: PARENT.prepare(frame)}), strict=True))
    donor_answer = PARENT.run(PARENT.prepare(frame))[PARENT.outputs[0]]
    np.testing.assert_allclose(given[PARENT.outputs[0]], donor_answer, rtol=1e-4, atol=1e-4)
    for name, graft in outcome.chosen.grafts.items():
        features = PARENT.run(PARENT.prepare(frame), [graft.tail.source])[graft.tail.source].astype(np.float32)
        wanted = graft.tail.run(features)[0]
        got = given[next(t.outputs[0] for t in joined.tasks if t.name == name)]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_segments_hold_every_node_once_in_running_order(outcome: PlanningResult) -> None:
    joined = assemble(NETWORKS, outcome.chosen)
    writers = {o: i for i, n in enumerate(joined.model.graph.node) for o in n.output}
    ready = set(joined.inputs)
    counted: list[int] = []
    for segment in joined.segments:
        assert set(segment.inputs) <= ready
        ready |= set(segment.outputs)
        counted += _nodes_between(joined, segment.inputs, segment.outputs, writers)
    assert sorted(counted) == list(range(len(joined.model.graph.node)))


def _nodes_between(
    joined: MultiTaskModel, inputs: tuple[str, ...], outputs: tuple[str, ...], writers: Mapping[str, int]
) -> list[int]:
    between: set[int] = set()
    wanted = [o for o in outputs if o not in inputs]
    while wanted:
        name = wanted.pop()
        if name in writers and name not in inputs and writers[name] not in between:
            between.add(writers[name])
            wanted += joined.model.graph.node[writers[name]].input
    return sorted(between)


def test_it_survives_writing_and_reading(outcome: PlanningResult, tmp_path: Path) -> None:
    joined = assemble(NETWORKS, outcome.chosen)
    path = tmp_path / "joined.onnx"
    joined.save(path)
    again = MultiTaskModel.load(path)
    assert (again.inputs, again.segments, again.tasks) == (joined.inputs, joined.segments, joined.tasks)


def test_a_plan_adds_up(outcome: PlanningResult) -> None:
    """Its weights are those of the graph it becomes, and a share point takes over what lies before it."""
    assert max(len(plan.grafts) for plan in outcome.front) == 2
    for plan in outcome.front:
        graph = assemble(NETWORKS, plan).model.graph
        constants = [numpy_helper.to_array(i) for i in graph.initializer]
        assert plan.weights == sum(c.size for c in constants if c.dtype.kind == "f" and c.size > 1)
        grafts = plan.grafts.values()
        measured = [c.shown for c in grafts]
        assert plan.agreement == min((a.value for a in measured), default=1.0)
        assert plan.lower_bound == min((a.lower_bound for a in measured), default=1.0)
        if all(c.join.method in ("exact", "raw", "refit") for c in grafts):
            assert plan.macs == 3 * PARENT.macs - sum(c.join.target_point.macs for c in grafts)
        else:
            assert plan.macs > 3 * PARENT.macs - sum(c.join.target_point.macs for c in grafts)


def test_a_plan_keeps_what_its_worst_graft_keeps(outcome: PlanningResult) -> None:
    nothing = next(plan for plan in outcome.front if not plan.grafts)
    by_agreement = {c.join.target: c for c in sorted(outcome.evaluated, key=lambda c: c.shown.lower_bound)}
    best, other = sorted(by_agreement.values(), key=lambda c: -c.shown.lower_bound)
    assert best.shown.value > other.shown.value and best.shown.lower_bound > other.shown.lower_bound
    by_name = {n.name: n for n in NETWORKS}
    for grafts in ((best, other), (other, best)):
        plan = nothing
        for graft in grafts:
            plan = plan.with_graft(by_name[graft.join.target], graft)
        assert (plan.agreement, plan.lower_bound) == (other.shown.value, other.shown.lower_bound)


def test_in_large_networks_halving_finds_the_deepest_point_that_keeps_the_budget(
    similarity: SimilarityTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = (NETWORKS[0], NETWORKS[2])

    def searched(budget: float) -> PlanningResult:
        return plan_sharing(pair, EVIDENCE, similarity, Limits(min_agreement=budget), SearchOptions(enough=budget))

    refits = [c for c in searched(0.0).evaluated if c.join.method == "refit"]
    bounds = [c.shown.lower_bound for c in refits]
    assert bounds == sorted(bounds, reverse=True) and len(set(bounds)) >= 3
    monkeypatch.setattr("multigraft.converters.graft.search.SMALL_MACS", 0)
    for deepest, (bound, next_bound) in enumerate(itertools.pairwise([*bounds, 0.0])):
        outcome = searched((bound + next_bound) / 2)
        (graft,) = outcome.chosen.grafts.values()
        assert graft.join == refits[deepest].join
        assert len({c.join.target_point for c in outcome.evaluated}) <= len(bounds).bit_length()
    assert not searched(0.9999).chosen.grafts


def test_the_search_of_a_large_network_is_bounded_by_its_cost_and_says_so(
    similarity: SimilarityTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multigraft.converters.graft.search.SMALL_MACS", 0)
    monkeypatch.setattr("multigraft.converters.graft.search.MIN_HALVINGS", 1)
    options = SearchOptions(effort=dataclasses.replace(MEDIUM, search_macs=1))
    said: list[str] = []
    pair = (NETWORKS[0], NETWORKS[2])
    outcome = plan_sharing(pair, EVIDENCE, similarity, Limits(min_agreement=0.9), options, said.append)
    assert len({c.join.target_point for c in outcome.evaluated}) == 1
    assert any("--effort high" in line for line in said)
    assert any("cut points the search looks at 1" in line and "--share" in line for line in said)
