"""Planning: who donates, who shares up to where, and which plan the user's budget picks from the Pareto front."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.explanation import NOTHING_FITS, explain, why_untried
from multigraft.converters.graft.plan_latency import PlanLatency
from multigraft.converters.graft.search import SearchOptions, Similarity, candidates, choose_donor
from multigraft.converters.graft.sharing_plan import UNSHARED, Limits, PlanningResult, SharingPlan
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.network.network import Network


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
    with a donor of their own. A task of ``given`` takes that graft or none.

    Where no plan keeps every limit, the one that exceeds them least is taken, and the message says what it misses.

    Raises:
        ConfigurationError: A share override names a layer that cannot be shared.
    """
    latency, progress = PlanLatency(networks), SearchProgress.of(report)
    # Timings differ from build to build: only where they are asked for may they decide what is on the front.
    is_timed = limits.prefer == "latency"

    def shown(plan: SharingPlan) -> SharingPlan:
        return timed(plan, latency) if is_timed else plan

    nothing = shown(SharingPlan.apart(networks))
    chosen, front, considered, evaluated, donors = nothing, [nothing], [], [], []
    cost = cost_of_plans(limits, latency)
    best = BestSoFar(nothing, limits, progress)
    left = list(networks)
    share, given = options.share or {}, given or {}

    def grafts_onto(donor: Network, base: SharingPlan, target: Network) -> list[Candidate]:
        if (ready := given.get(target.name)) is not None:
            return [ready] if ready.join.donor == donor.name else []
        found = []
        for graft in candidates(donor, target, evidence[target.name], similarity, options, progress):
            found.append(graft)
            best.see(base.with_graft(target, graft))
        return found

    while len(left) > 1:
        donor = next_donor(left, similarity, share, given)
        donors.append(donor.name)
        round_front = [chosen]
        targets = [n for n in left if n is not donor and share.get(n.name) != UNSHARED]
        searched = options.workers.each(functools.partial(grafts_onto, donor, chosen), targets)
        for target, grafts in zip(targets, searched, strict=True):
            evaluated += grafts
            forced = target.name in share and bool(grafts)
            if forced:
                grafts = [max(grafts, key=lambda c: c.agreement.value if c.agreement else 0.0)]
            grown = [shown(p.with_graft(target, c)) for p in round_front for c in grafts]
            round_front = pareto(grown if forced else [*round_front, *grown], limits)
        front = pareto([*front, *round_front], limits)
        considered += round_front
        chosen = pick(round_front, limits, cost, forced=bool(share)) or chosen
        best.see(chosen)
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    if chosen not in front:
        front = [*front, chosen]
    front.sort(key=lambda p: (-p.weights, -p.macs))
    chosen, front = timed(chosen, latency), [timed(plan, latency) for plan in front]
    message = explain(chosen, considered, evaluated, limits, why_untried(networks, share, NOTHING_FITS))
    return PlanningResult(chosen, tuple(front), tuple(evaluated), tuple(donors), message, limits)


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

    def see(self, plan: SharingPlan) -> None:
        """Look at one more."""
        limits, apart = self._limits, self._apart
        if not (limits.keeps_agreement(plan) and limits.fits(plan) and self._cost(plan) < self._least):
            return
        self._least = self._cost(plan)
        weights, macs = plan.weights / max(apart.weights, 1), plan.macs / max(apart.macs, 1)
        self._progress.best(
            f"{weights:.2f} of the weights and {macs:.2f} of the MACs at an agreement bound of {plan.lower_bound:.3f}"
        )

    def _cost(self, plan: SharingPlan) -> tuple[int, int]:
        # What is fastest is timed at the end: timing every plan would take as long as some searches.
        return (plan.weights, plan.macs) if self._limits.prefer == "weights" else (plan.macs, plan.weights)


def timed(plan: SharingPlan, latency: Callable[[SharingPlan], float]) -> SharingPlan:
    """``plan`` with how long it takes here."""
    return dataclasses.replace(plan, latency_us=latency(plan))


def next_donor(
    left: Sequence[Network], similarity: Similarity, share: Mapping[str, str], given: Mapping[str, Candidate]
) -> Network:
    """The next network that others are tried on: a donor of given grafts first."""
    free = [n for n in left if share.get(n.name, UNSHARED) == UNSHARED and n.name not in given] or list(left)
    wanted = {c.join.donor for name, c in given.items() if any(n.name == name for n in left)}
    return choose_donor([n for n in free if n.name in wanted] or free, similarity)


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
