"""Grafts onto branches: which plans they fit, what they are called, and what of them a device can refit."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import evaluate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.propose import solved_on_device
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult, SharingPlan
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.network.network import Network
from multigraft.converters.planning.grown import grown
from multigraft.converters.planning.planner import BestSoFar, plan_sharing
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.converters.thinning.search import bases, with_thinning
from tests.converters.graft.networks import frames
from tests.converters.planning.chains import chain

FRAMES = frames(120, 1, 16)
EVIDENCE = Evidence(FRAMES[:60], FRAMES[60:])
WIDTHS = (6, 8, 8, 12, 12)
NETWORKS = {
    n.name: n
    for n in (
        chain("a", WIDTHS, (1, 1, 4, 4, 21)),
        chain("c", WIDTHS, (1, 1, 5, 5, 22)),
        chain("d", WIDTHS, (1, 1, 5, 5, 23)),
        chain("e", WIDTHS, (1, 1, 5, 7, 24)),
        chain("c_2", WIDTHS, (1, 1, 6, 6, 25)),
        chain("f", WIDTHS, (1, 1, 6, 6, 26)),
    )
}
"""All share two layers with a; c shares two more with d and one with e, and c_2 two with f."""


def plan_of(networks: Mapping[str, Network], onto: Mapping[str, str], methods: Mapping[str, Method]) -> SharingPlan:
    """Every task as deep on its donor as their weights are equal."""
    plan = SharingPlan.apart(tuple(networks.values()))
    for target, donor in onto.items():
        points = lineage(networks[donor], networks[target]).equal[-1]
        join = Join(donor, target, *points, methods.get(target, "exact"), "relative")
        made = evaluate(join, grown(networks[donor], plan, networks), networks[target], EVIDENCE)
        plan = plan.with_graft(networks[target], dataclasses.replace(made, on_branch=donor in plan.grafts))
    return plan


def small(*names: str) -> dict[str, Network]:
    return {name: NETWORKS[name] for name in names}


def test_no_two_segments_have_one_name_whatever_tasks_are_called() -> None:
    onto = {"c": "a", "d": "c", "e": "c", "c_2": "a", "f": "c_2"}
    joined = assemble(tuple(NETWORKS.values()), plan_of(NETWORKS, onto, {}))
    names = [s.name for s in joined.segments]
    assert {"branch_c", "branch_c_2"} < set(names) and len(set(names)) == len(names)
    segments = {s.name: s for s in joined.segments}
    for task in joined.tasks:
        made = set(joined.inputs)
        for name in task.segments:
            assert made.issuperset(segments[name].inputs), (task.name, name)
            made.update(segments[name].outputs)
        assert made.issuperset(task.outputs)


def test_a_graft_onto_a_branch_takes_no_part_in_plans_whose_donor_stands_alone() -> None:
    networks = small("a", "c", "d")
    branched = plan_of(networks, {"c": "a", "d": "c"}, {"c": "refit"}).grafts["d"]
    donor, target = networks["c"], networks["d"]
    shallow = Join("c", "d", *lineage(donor, target).equal[0], "exact", "relative")
    alone = evaluate(shallow, donor, target, EVIDENCE)
    branched = dataclasses.replace(branched, agreement=alone.agreement)
    assert branched.own_weights < alone.own_weights
    chosen = SharingPlan.apart(tuple(networks.values())).with_graft(target, alone)
    outcome = PlanningResult(chosen, (chosen,), (alone, branched), ("c",), "")
    plans = bases(outcome, tuple(networks.values()), Limits(min_agreement=0.5))
    assert any(p.grafts for p in plans)
    assert not any(g.on_branch for p in plans for g in p.grafts.values())


def test_plans_whose_grafts_differ_in_weights_alone_can_be_compared() -> None:
    networks = small("a", "c")
    plan = plan_of(networks, {"c": "a"}, {"c": "refit"})
    (graft,) = plan.grafts.values()
    constants = {name: 2 * value for name, value in graft.tail.constants.items()}
    other = dataclasses.replace(graft, tail=dataclasses.replace(graft.tail, constants=constants))
    assert plan != plan.with_grafts({"c": other})
    assert plan == plan.with_grafts({"c": dataclasses.replace(graft)})


def test_a_graft_that_two_ways_to_plan_have_in_common_is_evaluated_once() -> None:
    networks = (*small("a", "c", "d").values(), chain("noise", (6, 8), (3, 3), size=12))
    nothing = SimilarityTable.empty([n.name for n in networks], 0)
    evidence = {n.name: EVIDENCE for n in networks}
    found = plan_sharing(networks, evidence, nothing, Limits(min_agreement=0.9), SearchOptions())
    onto = {name: graft.join.donor for name, graft in found.chosen.grafts.items()}
    assert any(donor in onto for donor in onto.values())
    joins = [graft.join for graft in found.evaluated]
    assert any(graft.on_branch for graft in found.evaluated) and len(set(joins)) == len(joins)


@pytest.mark.parametrize("methods", [{"c": "refit", "d": "refit"}, {"c": "exact", "d": "refit"}])
def test_a_device_refits_what_stands_on_a_trunk_and_what_does_not_is_told(methods: Mapping[str, Method]) -> None:
    plan = plan_of(small("a", "c", "d"), {"c": "a", "d": "c"}, methods)
    said: list[str] = []
    assert [j.target for j in solved_on_device(plan, said.append)] == [n for n in "c" if methods[n] == "refit"]
    (line,) = said
    assert "d is not refitted on the device" in line and "branch of c" in line and "--share d=LAYER" in line


def test_the_best_point_that_is_shown_is_the_smallest_whichever_thread_found_it() -> None:
    shown: list[str] = []
    is_looked_at, is_over = threading.Event(), threading.Event()

    class Slow(SearchProgress):
        def best(self, point: str) -> None:
            if "0.60" in point:
                is_looked_at.set()
                is_over.wait(0.3)
            shown.append(point)

    best = BestSoFar(SharingPlan({}, 100, 100), Limits(), Slow())

    def look(weights: int) -> None:
        best.see(SharingPlan({}, weights, 100))
        is_over.set()

    first, second = (threading.Thread(target=look, args=(weights,)) for weights in (60, 40))
    first.start()
    is_looked_at.wait(10)
    second.start()
    for thread in (first, second):
        thread.join()
    assert shown[-1].startswith("0.40 of the weights")


def figures(outcome: PlanningResult, networks: Sequence[Network]) -> str:
    """How the point of a plan is shown."""
    return f"{outcome.chosen.weights / sum(n.weights for n in networks):.2f} of the weights"


def shown_by(search: Callable[[SearchProgress], PlanningResult]) -> tuple[PlanningResult, list[str]]:
    """What a search finds, and the points that it shows."""
    shown: list[str] = []

    class Telling(SearchProgress):
        def best(self, point: str) -> None:
            shown.append(point)

    return search(Telling()), shown


def test_no_point_is_shown_that_a_layer_which_was_asked_for_rules_out() -> None:
    networks = chain("x", (6, 8, 8, 12, 12), (1, 1, 1, 1, 11)), chain("y", (5, 7, 7, 10, 10), (2, 2, 2, 2, 13))
    nothing, evidence = SimilarityTable.empty([n.name for n in networks], 0), {n.name: EVIDENCE for n in networks}
    limits, options = Limits(min_agreement=0.01), SearchOptions(share={"y": "r2"})
    outcome, shown = shown_by(lambda p: plan_sharing(networks, evidence, nothing, limits, options, p))
    whole, (taken,) = sum(n.weights for n in networks), outcome.chosen.grafts.values()
    assert any(graft.own_weights < networks[1].weights < taken.own_weights for graft in outcome.evaluated)
    assert outcome.chosen.weights > whole and shown == [], "what was asked for costs more than the networks apart"


def test_no_point_is_shown_that_lacks_a_share_which_was_asked_for() -> None:
    networks = chain("x", (6, 8, 8, 12), (1, 1, 1, 11)), chain("z", (6, 8), (3, 3), size=12)
    nothing = SharingPlan.apart(networks)
    before = PlanningResult(nothing, (nothing,), (), (), "", Limits(min_agreement=0.01))
    evidence, shares = {n.name: EVIDENCE for n in networks}, ThinShares(0.7)
    outcome, shown = shown_by(lambda p: with_thinning(before, networks, evidence, shares, SearchOptions(), p))
    assert len(outcome.chosen.thinned) == 2
    assert shown[0] == "" and [point[:19] for point in shown[1:]] == [figures(outcome, networks)]
