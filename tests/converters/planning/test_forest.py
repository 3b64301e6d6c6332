"""Tasks of several families: every family has a trunk that counts once, and relatives go on together behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import numpy_helper

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.plan_latency import PlanLatency
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.network import Network, node_weights, session_of
from multigraft.converters.packing.proof import proved
from multigraft.converters.planning.families import families_of
from multigraft.converters.planning.grown import grown
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.converters.similarity.representations import measure_similarity
from multigraft.converters.thinning.search import with_thinning
from tests.converters.graft.networks import frames
from tests.converters.planning.chains import chain

FRAMES = frames(260, 1, 16)
EVIDENCE = Evidence(FRAMES[:100], FRAMES[100:])
FAMILIES = (
    chain("door", (6, 8, 8, 12), (1, 1, 1, 11)),
    chain("lock", (6, 8, 8, 12), (1, 1, 1, 12)),
    chain("leaf", (5, 7, 7, 10, 10), (2, 2, 2, 2, 13)),
    chain("fruit", (5, 7, 7, 10, 10), (2, 2, 2, 2, 14)),
    chain("noise", (6, 8), (3, 3), size=12),
)
"""Two families of two, whose depths differ, and one that has no relative and sees smaller pictures."""

TREE = (
    chain("a", (6, 8, 8, 12, 12), (1, 1, 5, 5, 21)),
    chain("b", (6, 8, 8, 12, 12), (1, 1, 5, 5, 22)),
    chain("c", (6, 8, 8, 12, 12), (1, 1, 6, 6, 23)),
    chain("d", (6, 8, 8, 12, 12), (1, 1, 6, 6, 24)),
)
"""All share two layers; a with b, and c with d, share two more."""


def planned(networks: Sequence[Network], least: float, report: Report = silent) -> PlanningResult:
    evidence = {n.name: EVIDENCE for n in networks}
    table = measure_similarity(networks, EVIDENCE.fit)
    return plan_sharing(networks, evidence, table, Limits(min_agreement=least), SearchOptions(), report)


@pytest.fixture(scope="module")
def strict() -> PlanningResult:
    return planned(FAMILIES, 0.97)


@pytest.fixture(scope="module")
def tree() -> PlanningResult:
    return planned(TREE, 0.97)


STEP = re.compile(r"search: step (\d+) of about (\d+)(?:, best so far: ([0-9.]+) of the weights)?")


@pytest.mark.parametrize("networks", [FAMILIES, TREE], ids=["two families", "one tree"])
def test_the_bar_counts_every_graft_of_families_and_branches(networks: Sequence[Network]) -> None:
    said: list[str] = []
    outcome = planned(networks, 0.97, said.append)
    steps = [(int(match[1]), int(match[2])) for line in said if (match := STEP.match(line))]
    tried = [line.split(":")[0] for line in said if line.startswith("graft ")]
    assert steps[-1] == (len(tried), len(tried))
    first, families = outcome.donors[0], [{n.name for n in family} for family in families_of(networks)]
    pairs = [(line.split()[1], line.split()[3]) for line in tried]
    in_first_rounds = [on == first or (len(families) > 1 and any({of, on} <= f for f in families)) for of, on in pairs]
    assert steps[0][1] == sum(in_first_rounds) > 0
    assert any(graft.on_branch for graft in outcome.evaluated) == (networks is TREE)


def test_the_best_point_that_is_shown_last_is_no_smaller_than_the_plan(strict: PlanningResult) -> None:
    said: list[str] = []
    chosen, whole = planned(FAMILIES, 0.97, said.append).chosen, sum(n.weights for n in FAMILIES)
    shown = [float(match[3]) for line in said if (match := STEP.match(line)) and match[3]]
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] >= chosen.weights / whole - 0.005


def through(layers: int, network: Network) -> int:
    """Weights of the first layers."""
    return sum(node_weights(n, network.constants) for n in network.nodes[: 2 * layers])


def test_relatives_are_found_whatever_else_there_is() -> None:
    assert [[n.name for n in family] for family in families_of(FAMILIES)] == [["door", "lock"], ["leaf", "fruit"]]
    assert [[n.name for n in family] for family in families_of(TREE)] == [["a", "b", "c", "d"]]


def test_every_family_has_a_trunk_that_counts_once(strict: PlanningResult) -> None:
    chosen = strict.chosen
    assert {frozenset((t, g.join.donor)) for t, g in chosen.grafts.items()} == {
        frozenset(("door", "lock")),
        frozenset(("leaf", "fruit")),
    }
    shared = through(3, FAMILIES[0]) + through(4, FAMILIES[2])
    assert chosen.weights == sum(n.weights for n in FAMILIES) - shared
    joined = assemble(FAMILIES, chosen)
    assert len(joined.inputs) == 3
    assert sum(s.name.startswith("trunk_") for s in joined.segments) == 2


def test_a_looser_budget_gives_no_larger_plan(strict: PlanningResult) -> None:
    """One donor for all keeps little of each: families that give theirs up for it have to gain by that."""
    loose = planned(FAMILIES, 0.5).chosen
    assert loose.weights <= strict.chosen.weights
    assert loose.agreement >= 0.5


def test_relatives_go_on_together_where_the_trunk_ends(tree: PlanningResult) -> None:
    chosen = tree.chosen
    assert chosen.agreement == 1.0
    network = TREE[0]
    both, rest = through(2, network), through(4, network) - through(2, network)
    assert chosen.weights == 4 * network.weights - 3 * both - 2 * rest
    assert sum(g.join.donor in chosen.grafts for g in chosen.grafts.values()) == 1
    assert "exact" in chosen.describe() and PlanLatency(TREE)(chosen) > 0


def test_a_branch_is_one_segment_that_its_tasks_run_and_others_do_not(tree: PlanningResult) -> None:
    joined = assemble(TREE, tree.chosen)
    tasks = {t.name: t for t in joined.tasks}
    (on_branch,) = [t for t in joined.tasks if t.branch]
    bearer = tasks[str(on_branch.branch)]
    branch = f"branch_{bearer.name}"
    assert branch in on_branch.segments and branch in bearer.segments
    assert sum(branch in t.segments for t in joined.tasks) == 2
    assert on_branch.donor == bearer.donor and tasks[str(on_branch.donor)].relation == "donor"
    counted = sum(len(s.outputs) for s in joined.segments)
    assert len({o for s in joined.segments for o in s.outputs}) == counted


@pytest.mark.parametrize("networks", [FAMILIES, TREE], ids=["two families", "one tree"])
def test_every_task_answers_as_its_own_network(networks: Sequence[Network], request: pytest.FixtureRequest) -> None:
    outcome: PlanningResult = request.getfixturevalue("strict" if networks is FAMILIES else "tree")
    joined, shown = assemble(networks, outcome.chosen), frames(8, 5, 16)
    session, by_name = session_of(joined.model, "joined"), {n.name: n for n in networks}
    for task in joined.tasks:
        own = by_name[task.name]
        feed = {name: by_name[name.split("/")[0]] for name in joined.inputs}
        wanted = own.run(own.prepare(shown))[own.outputs[0]]
        for k, frame in enumerate(shown):
            given = session.run(list(task.outputs), {name: n.prepare([frame]) for name, n in feed.items()})
            np.testing.assert_allclose(given[0][0], wanted[k], rtol=1e-4, atol=1e-4)
    evidence = {n.name: EVIDENCE for n in networks}
    promised = proved(outcome.chosen, networks, evidence, SearchOptions())
    assert promised.agreement == 1.0


def test_a_network_on_a_branch_stands_as_what_it_is_made_of(tree: PlanningResult) -> None:
    by_name = {n.name: n for n in TREE}
    shown = frames(4, 6, 16)
    for network in TREE:
        stands = grown(network, tree.chosen, by_name)
        (given,), (wanted,) = (n.run(n.prepare(shown)).values() for n in (stands, network))
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)
        assert {p.name for p in stands.cut_points} <= {p.name for n in TREE for p in n.cut_points}


def test_a_tree_with_a_branch_is_thinned_as_a_whole(tree: PlanningResult) -> None:
    evidence = {n.name: EVIDENCE for n in TREE}
    shares = ThinShares(0.8)
    thinned = with_thinning(tree, TREE, evidence, shares, SearchOptions(share={"a": "none"})).chosen
    assert thinned.grafts.keys() == tree.chosen.grafts.keys()
    assert 0.7 * tree.chosen.weights < thinned.weights < 0.85 * tree.chosen.weights
    assert 0.6 < thinned.agreement < 1
    joined, by_name = assemble(TREE, thinned), {n.name: n for n in TREE}
    constants = [numpy_helper.to_array(i) for i in joined.model.graph.initializer]
    assert thinned.weights == sum(c.size for c in constants if c.dtype.kind == "f" and c.size > 1)
    promised = proved(thinned, TREE, evidence, SearchOptions())
    assert promised.agreements.keys() == by_name.keys()
    shown = EVIDENCE.accept[:40]
    session = session_of(joined.model, "joined")
    for task in joined.tasks:
        (stands,) = grown(by_name[task.name], thinned, by_name).run(TREE[0].prepare(shown)).values()
        (read,) = joined.inputs
        given = [session.run(list(task.outputs), {read: TREE[0].prepare([frame])})[0][0] for frame in shown]
        np.testing.assert_allclose(given, stands, rtol=1e-3, atol=1e-3)
