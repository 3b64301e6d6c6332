"""Planning: who donates, who shares up to where, and which plan the user's budget picks from the Pareto front."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.explanation import NOTHING_FITS, explain, why_untried
from multigraft.converters.graft.plan_latency import PlanLatency
from multigraft.converters.graft.search import SearchOptions, Similarity, candidates, expected_grafts, next_donor
from multigraft.converters.graft.sharing_plan import UNSHARED, Limits, PlanningResult, SharingPlan
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.network.network import Network
from multigraft.converters.planning.branches import Branches
from multigraft.converters.planning.families import families_of


def plan_sharing(
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    similarity: Similarity,
    limits: Limits,
    options: SearchOptions,
    report: Report = silent,
    given: Mapping[str, Candidate] | None = None,
) -> PlanningResult:
    """Search donors and share points and pick by the budget.

    The donor is the network the others resemble most. Networks the budget leaves unshared may form a group of their own
    with a donor of their own. Where there are families, plans in which every family has a trunk of its own are made,
    too. Relatives then go on together where the donor's trunk ends for both. A task of ``given`` takes that graft or
    none.

    Where no plan keeps every limit, the one that exceeds them least is taken, and the message says what it misses.

    Raises:
        ConfigurationError: A share override names a layer that cannot be shared.
    """
    latency, share = PlanLatency(networks), options.share or {}
    search = _Search(networks, evidence, similarity, limits, options, SearchProgress.of(report), latency, given or {})
    families = [f for f in families_of(networks) if len(f) < len(networks)]
    # A layer that was asked for is one of the donor that resembles the others most.
    if given or any(share.get(n.name, UNSHARED) != UNSHARED for n in networks):
        families = []
    search.expect([networks, *families])
    ways = [search.in_rounds(search.nothing, networks)]
    if families:
        ways.append(search.by_families(families))
    if not given:
        ways += [deeper for way in ways if (deeper := search.with_branches(way)) is not way]
    front, considered = search.front, search.considered
    chosen = pick(ways, limits, search.cost, forced=bool(share)) or search.nothing
    search.best.see(chosen)
    if chosen not in front:
        front = [*front, chosen]
    front.sort(key=lambda p: (-p.weights, -p.macs))
    chosen, front = timed(chosen, latency), [timed(plan, latency) for plan in front]
    evaluated = search.evaluated
    message = explain(chosen, considered, evaluated, limits, why_untried(networks, share, NOTHING_FITS))
    return PlanningResult(chosen, tuple(front), tuple(evaluated), tuple(search.donors), message, limits)


class _Search:
    """Makes plans, and keeps what it saw.

    Attributes:
        nothing: The networks as they came.
        front: No plan of it covers another.
        considered: Plans that were the best of a round.
        evaluated: Every graft.
        donors: Networks that others were tried on, in order.
        best: Sees every plan.
        cost: What decides between plans.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        evidence: Mapping[str, Evidence],
        similarity: Similarity,
        limits: Limits,
        options: SearchOptions,
        progress: SearchProgress,
        latency: PlanLatency,
        given: Mapping[str, Candidate],
    ) -> None:
        self._networks, self._evidence, self._similarity = networks, evidence, similarity
        self._limits, self._options, self._progress, self._latency = limits, options, progress, latency
        self._given, self._share = given, options.share or {}
        self._asks_for_layers = any(layer != UNSHARED for layer in self._share.values())
        self._grafts: dict[tuple[str, str], list[Candidate]] = {}
        self._awaited = set[tuple[str, str]]()
        self.nothing = self._shown(SharingPlan.apart(networks))
        self.front, self.considered = [self.nothing], list[SharingPlan]()
        self.evaluated, self.donors = list[Candidate](), list[str]()
        self.best, self.cost = BestSoFar(self.nothing, limits, progress), cost_of_plans(limits, latency)
        # One for all plans: grafts that several may have are evaluated once.
        self._branches = Branches(networks, evidence, similarity, options, progress)

    def expect(self, groups: Sequence[Sequence[Network]]) -> None:
        """Tell the progress of the first round of each group: which others there are, its outcome says."""
        donors = list[str]()
        for group in groups:
            if len(group) > 1:
                donor = self._next(group, donors)
                donors.append(donor.name)
                self._expect(donor, [n for n in group if n is not donor])

    def _expect(self, donor: Network, targets: Sequence[Network]) -> None:
        for target in targets:
            pair = donor.name, target.name
            if self._share.get(target.name) != UNSHARED and target.name not in self._given and pair not in self._grafts:
                evidence = self._evidence[target.name]
                grafts = expected_grafts(donor, target, evidence, self._similarity, self._options)
                self._progress.expect(pair, grafts)
                self._awaited.add(pair)

    def _next(self, left: Sequence[Network], donors: Sequence[str]) -> Network:
        """The donor of the next round: what was tried on one before is known."""
        known = [n for n in left if n.name in donors]
        return known[0] if known else next_donor(left, self._similarity, self._share, self._given)

    def in_rounds(self, plan: SharingPlan, members: Sequence[Network]) -> SharingPlan:
        """``plan`` with members on one donor, those that it leaves on another one, and so on."""
        left = list(members)
        while len(left) > 1:
            donor = self._next(left, self.donors)
            plan = self._with_targets(plan, donor, [n for n in left if n is not donor])
            left = [n for n in left if n is not donor and n.name not in plan.grafts]
        return plan

    def by_families(self, families: Sequence[Sequence[Network]]) -> SharingPlan:
        """Every family on a trunk of its own; who has none on one of these, or on one with others that have none."""
        plan, roots = self.nothing, list[Network]()
        for family in families:
            plan = self.in_rounds(plan, family)
            roots += [n for n in family if any(g.join.donor == n.name for g in plan.grafts.values())]

        def alone() -> list[Network]:
            return [n for n in self._networks if n not in roots and n.name not in plan.grafts]

        for root in roots:
            plan = self._with_targets(plan, root, alone())
        plan = self.in_rounds(plan, alone())
        # Another donor than was foreseen may have come first.
        for pair in self._awaited - self._grafts.keys():
            self._progress.finish(pair)
        return plan

    def with_branches(self, plan: SharingPlan) -> SharingPlan:
        """``plan`` with tasks on one another's branches, as long as that costs less; itself where it does not."""
        while True:
            found = [self._shown(p) for p in self._branches.plans(plan)]
            for made in found:
                self._see(made)
            cheapest = pick([plan, *found], self._limits, self.cost)
            if cheapest is None or cheapest is plan:
                return plan
            plan = cheapest
            self.considered.append(plan)
            self.front = pareto([*self.front, plan], self._limits)

    def _see(self, plan: SharingPlan) -> None:
        self.best.see(plan)
        known = {id(c) for c in self.evaluated}
        self.evaluated += [g for g in plan.grafts.values() if id(g) not in known]

    def _with_targets(self, plan: SharingPlan, donor: Network, candidates_for: Sequence[Network]) -> SharingPlan:
        """The plan of least cost with some of these networks on a donor."""
        if donor.name not in self.donors:
            self.donors.append(donor.name)
        round_front = [plan]
        targets = [n for n in candidates_for if self._share.get(n.name) != UNSHARED]
        self._expect(donor, targets)
        searched = self._options.workers.each(functools.partial(self._onto, donor, plan), targets)
        for target, grafts in zip(targets, searched, strict=True):
            if (key := (donor.name, target.name)) not in self._grafts:
                self._grafts[key] = grafts
                self.evaluated += grafts
            forced = target.name in self._share and bool(grafts)
            if forced:
                grafts = [max(grafts, key=lambda c: c.agreement.value if c.agreement else 0.0)]
            grown = [self._shown(p.with_graft(target, c)) for p in round_front for c in grafts]
            round_front = pareto(grown if forced else [*round_front, *grown], self._limits)
        self.front = pareto([*self.front, *round_front], self._limits)
        self.considered += round_front
        chosen = pick(round_front, self._limits, self.cost, forced=bool(self._share)) or plan
        self.best.see(chosen)
        return chosen

    def _onto(self, donor: Network, base: SharingPlan, target: Network) -> list[Candidate]:
        """Grafts of a target onto a donor, each of which is evaluated once."""
        if (ready := self._given.get(target.name)) is not None:
            return [ready] if ready.join.donor == donor.name else []
        if (known := self._grafts.get((donor.name, target.name))) is not None:
            return known
        found = []
        evidence = self._evidence[target.name]
        for graft in candidates(donor, target, evidence, self._similarity, self._options, self._progress):
            found.append(graft)
            # Of grafts at a layer that was asked for the one of most agreement is taken, and no plan lacks it.
            if not self._asks_for_layers:
                self.best.see(base.with_graft(target, graft))
        return found

    def _shown(self, plan: SharingPlan) -> SharingPlan:
        # Timings differ from build to build: only where they are asked for may they decide what is on the front.
        return timed(plan, self._latency) if self._limits.prefer == "latency" else plan


class BestSoFar:
    """Tells a search's progress of the smallest plan seen that keeps the budget.

    Args:
        apart: The networks as they came.
        limits: The budget.
        progress: It.
    """

    def __init__(self, apart: SharingPlan, limits: Limits, progress: SearchProgress) -> None:
        self._apart, self._limits, self._progress = apart, limits, progress
        self._least = self._cost(apart)
        # Searches of several tasks may find plans at the same time.
        self._lock = threading.Lock()

    def see(self, plan: SharingPlan) -> None:
        """Look at one more."""
        limits, apart = self._limits, self._apart
        if not (limits.keeps_agreement(plan) and limits.fits(plan)):
            return
        weights, macs = plan.weights / max(apart.weights, 1), plan.macs / max(apart.macs, 1)
        with self._lock:
            if self._cost(plan) >= self._least:
                return
            self._least = self._cost(plan)
            self._progress.best(
                f"{weights:.2f} of the weights and {macs:.2f} of the MACs at an agreement bound of "
                f"{plan.lower_bound:.3f}"
            )

    def _cost(self, plan: SharingPlan) -> tuple[int, int]:
        # What is fastest is timed at the end: timing every plan would take as long as some searches.
        return (plan.weights, plan.macs) if self._limits.prefer == "weights" else (plan.macs, plan.weights)


def timed(plan: SharingPlan, latency: Callable[[SharingPlan], float]) -> SharingPlan:
    """``plan`` with how long it takes here."""
    return dataclasses.replace(plan, latency_us=latency(plan))


def pareto(plans: Sequence[SharingPlan], limits: Limits) -> list[SharingPlan]:
    """The plans no other covers; of equal ones the first, which is the one with fewer changes."""
    kept: list[SharingPlan] = []
    for candidate in plans:
        if not any(k.covers(candidate, limits) for k in kept):
            kept = [k for k in kept if not candidate.covers(k, limits)] + [candidate]
    return kept


Cost = Callable[[SharingPlan], tuple[float, ...]]
"""What decides between plans that keep the budget: the smallest wins, later numbers among equals."""


def cost_of_plans(limits: Limits, latency: Callable[[SharingPlan], float]) -> Cost:
    """The cost that ``[budget] prefer`` asks for; ``latency`` is asked for that preference alone."""

    def cost(plan: SharingPlan) -> tuple[float, ...]:
        if limits.prefer == "weights":
            return plan.weights, plan.macs, -plan.lower_bound
        first = plan.macs if limits.prefer == "macs" else latency(plan)
        return first, plan.weights, -plan.lower_bound

    return cost


def pick(plans: Sequence[SharingPlan], limits: Limits, cost: Cost, forced: bool = False) -> SharingPlan | None:
    """The plan of least cost that keeps the limits, or else the agreement; ``forced`` takes one that keeps neither."""
    feasible = [p for p in plans if limits.keeps_agreement(p)]
    if not feasible and forced:
        feasible = list(plans)
    fitting = [p for p in feasible if limits.fits(p)]
    if fitting:
        return min(fitting, key=cost)
    return min(feasible, key=lambda p: (limits.excess(p), *cost(p)), default=None)
