"""Plans: the budget picks the point, overrides win, and the assembled graph answers as the grafts did."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.planner import plan_sharing
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import session_of
from multigraft.converters.similarity.representations import SimilarityTable, measure_similarity
from multigraft.errors import ConfigurationError, InputError
from tests.converters.graft.networks import frames, perturbed, residual_network

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


def test_the_front_holds_no_plan_that_another_covers(outcome: PlanningResult) -> None:
    assert not any(a.covers(b) for a in outcome.front for b in outcome.front if a is not b)
    assert any(not p.grafts for p in outcome.front)


def test_no_sharing_when_no_graft_can_show_the_agreement(similarity: SimilarityTable) -> None:
    outcome = planned(similarity, Limits(min_agreement=0.9999))
    assert not outcome.chosen.grafts and "nothing shared" in outcome.message
    apart = assemble(NETWORKS, outcome.chosen)
    assert len(apart.segments) == len(NETWORKS) and len(apart.inputs) == len(NETWORKS)


def test_budgets_that_contradict_each_other_are_refused(similarity: SimilarityTable) -> None:
    with pytest.raises(ConfigurationError, match=r"contradicts budget\.min_agreement") as caught:
        planned(similarity, Limits(min_agreement=0.9, max_weights_bytes=10))
    assert caught.value.exit_code == 78


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
