"""Planning: who donates, who shares up to where, and which plan the user's budget picks from the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions, Similarity, candidates, choose_donor
from multigraft.converters.graft.sharing_plan import UNSHARED, Limits, PlanningResult, SharingPlan
from multigraft.converters.job.progress import Report, silent
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

    Raises:
        ConfigurationError: The budgets contradict each other on these networks and frames.
    """
    nothing = SharingPlan({}, sum(n.weights for n in networks), sum(n.macs for n in networks))
    chosen, front, evaluated, donors = nothing, [nothing], [], []
    left = list(networks)
    share, given = options.share or {}, given or {}
    while len(left) > 1:
        donor = next_donor(left, similarity, share, given)
        donors.append(donor.name)
        round_front = [chosen]
        for target in left:
            if target is donor or share.get(target.name) == UNSHARED:
                continue
            if (ready := given.get(target.name)) is not None:
                grafts = [ready] if ready.join.donor == donor.name else []
            else:
                grafts = list(candidates(donor, target, evidence[target.name], similarity, options, report))
            evaluated += grafts
            forced = target.name in share and bool(grafts)
            if forced:
                grafts = [max(grafts, key=lambda c: c.agreement.value if c.agreement else 0.0)]
            grown = [p.with_graft(target, c) for p in round_front for c in grafts]
            round_front = _pareto(grown if forced else [*round_front, *grown])
        front = _pareto([*front, *round_front])
        chosen = _pick(round_front, limits, forced=bool(share)) or chosen
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    if chosen not in front:
        front = [*front, chosen]
    limits.check(chosen)
    front.sort(key=lambda p: (-p.weights, -p.macs))
    return PlanningResult(
        chosen, tuple(front), tuple(evaluated), tuple(donors), explain(chosen, evaluated, limits), limits
    )


def next_donor(
    left: Sequence[Network], similarity: Similarity, share: Mapping[str, str], given: Mapping[str, Candidate]
) -> Network:
    """The next network that others are tried on: a donor of given grafts first."""
    free = [n for n in left if share.get(n.name, UNSHARED) == UNSHARED and n.name not in given] or list(left)
    wanted = {c.join.donor for name, c in given.items() if any(n.name == name for n in left)}
    return choose_donor([n for n in free if n.name in wanted] or free, similarity)


def _pareto(plans: Sequence[SharingPlan]) -> list[SharingPlan]:
    """The plans no other covers; of equal ones the first, which is the one with fewer changes."""
    kept: list[SharingPlan] = []
    for candidate in plans:
        if not any(k.covers(candidate) for k in kept):
            kept = [k for k in kept if not candidate.covers(k)] + [candidate]
    return kept


def _pick(plans: Sequence[SharingPlan], limits: Limits, forced: bool) -> SharingPlan | None:
    feasible = [p for p in plans if limits.keeps_agreement(p)]
    if not feasible and forced:
        feasible = list(plans)
    fitting = [p for p in feasible if limits.fits(p)] or feasible
    return min(fitting, key=lambda p: (p.weights, p.macs, -p.lower_bound), default=None)


def explain(chosen: SharingPlan, evaluated: Sequence[Candidate], limits: Limits) -> str:
    """Why this plan, in one sentence."""
    if chosen.grafts:
        kept = "" if limits.keeps_agreement(chosen) else ", which was asked for and misses the agreement budget"
        return f"smallest plan with an agreement bound of at least {limits.min_agreement:g}: {chosen.describe()}{kept}"
    if not evaluated:
        return "nothing shared: no two networks have representations that fit together"
    best = max(c.agreement.lower_bound if c.agreement else 0.0 for c in evaluated)
    return (
        f"nothing shared: no graft keeps an agreement bound of {limits.min_agreement:g} "
        f"(the best reaches {best:.3f}); the bundle holds the networks side by side"
    )
