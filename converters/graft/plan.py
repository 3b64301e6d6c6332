"""Plans: who donates, who shares up to where, and which plan the user's budget picks from the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigraft.converters.graft.candidate import METHOD_TEXT, Candidate, Evidence
from multigraft.converters.graft.search import Progress, SearchOptions, Similarity, candidates, choose_donor
from multigraft.converters.network.network import Network
from multigraft.errors import ConfigurationError

BYTES_PER_WEIGHT = {"int8": 1.0, "float32": 4.0, "dynamic": 1.0, "int4": 0.5}
UNSHARED = "none"


@dataclass(frozen=True)
class Plan:
    """One point of the trade-off.

    Attributes:
        grafts: Target task to its graft; tasks that are not in it keep their own network.
        weights: Parameters of all segments together.
        macs: Multiply-accumulates for all tasks on one frame.
        agreement: The lowest agreement of any task with its original (1 where nothing is grafted, 0 where one was not
            measured).
        lower_bound: The lowest bound of any task; 0, which is all that is shown, where one was not measured.
    """

    grafts: Mapping[str, Candidate]
    weights: int
    macs: int
    agreement: float = 1.0
    lower_bound: float = 1.0

    @property
    def is_measured(self) -> bool:
        """Whether the agreement of every grafted task is known."""
        return all(c.agreement is not None for c in self.grafts.values())

    def with_graft(self, target: Network, graft: Candidate) -> Plan:
        value, bound = (graft.agreement.value, graft.agreement.lower_bound) if graft.agreement else (0.0, 0.0)
        return Plan(
            {**self.grafts, target.name: graft},
            self.weights - target.weights + graft.own_weights,
            self.macs - target.macs + graft.own_macs,
            min(self.agreement, value),
            min(self.lower_bound, bound),
        )

    def covers(self, other: Plan) -> bool:
        """Whether this plan is at least as good in weights, MACs and agreement bound."""
        return self.weights <= other.weights and self.macs <= other.macs and self.lower_bound >= other.lower_bound

    def describe(self) -> str:
        """One line: who shares up to where."""
        if not self.grafts:
            return "nothing shared"
        parts = [
            f"{name} on {c.join.donor} up to {c.join.donor_point.label} ({c.join.method})"
            for name, c in sorted(self.grafts.items())
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class Limits:
    """The budget as numbers; None where the user set none."""

    min_agreement: float = 0.95
    max_weights_bytes: int | None = None
    max_macs: int | None = None
    bytes_per_weight: float = 1.0

    def keeps_agreement(self, plan: Plan) -> bool:
        return not plan.grafts or plan.lower_bound >= self.min_agreement

    def fits(self, plan: Plan) -> bool:
        return (self.max_weights_bytes is None or plan.weights * self.bytes_per_weight <= self.max_weights_bytes) and (
            self.max_macs is None or plan.macs <= self.max_macs
        )

    def check(self, plan: Plan) -> None:
        """Refuse a plan that costs more than the budget.

        Raises:
            ConfigurationError: It does.
        """
        if not self.fits(plan):
            raise _contradiction(plan, self)


@dataclass(frozen=True)
class Outcome:
    """What planning found.

    Attributes:
        chosen: The plan the budget picks.
        front: The Pareto front over weights, MACs and agreement bound, from nothing shared to most.
        evaluated: Every graft that was evaluated.
        donors: Networks that others were tried on, in order.
        message: Why this plan, in one sentence.
    """

    chosen: Plan
    front: tuple[Plan, ...]
    evaluated: tuple[Candidate, ...]
    donors: tuple[str, ...]
    message: str
    limits: Limits = field(default_factory=Limits)

    def pareto_json(self) -> list[dict[str, Any]]:
        """The front as plain data for the report and the JSON file."""
        return [
            {
                "plan": plan.describe(),
                "weights_bytes": round(plan.weights * self.limits.bytes_per_weight),
                "weights_bytes_validity": "estimate from parameter counts",
                "macs": plan.macs,
                "agreement": {name: c.agreement.to_json() for name, c in plan.grafts.items() if c.agreement},
                "lowest_agreement": plan.agreement if plan.is_measured else None,
                "lower_bound": plan.lower_bound if plan.is_measured else None,
                "meets_budget": self.limits.keeps_agreement(plan) and self.limits.fits(plan),
                "chosen": plan == self.chosen,
            }
            for plan in self.front
        ]

    def evaluated_json(self) -> list[dict[str, Any]]:
        """Every evaluated graft as plain data."""
        return [
            {
                "task": c.join.target,
                "donor": c.join.donor,
                "donor_layer": c.join.donor_point.label,
                "task_layer": c.join.target_point.label,
                "method": c.join.method,
                "method_text": METHOD_TEXT[c.join.method],
                "relation": c.join.relation,
                "cka": c.join.cka,
                "agreement": c.agreement.to_json() if c.agreement else None,
                "own_weights": c.own_weights,
                "own_macs": c.own_macs,
            }
            for c in self.evaluated
        ]


def plan(
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    similarity: Similarity,
    limits: Limits,
    options: SearchOptions,
    progress: Progress | None = None,
    given: Mapping[str, Candidate] | None = None,
) -> Outcome:
    """Search donors and share points and pick by the budget.

    The donor is the network the others resemble most. Networks the budget leaves unshared may form a group of their own
    with a donor of their own. A task of ``given`` takes that graft or none.

    Raises:
        ConfigurationError: The budgets contradict each other on these networks and frames.
    """
    nothing = Plan({}, sum(n.weights for n in networks), sum(n.macs for n in networks))
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
                found = [ready] if ready.join.donor == donor.name else []
            else:
                found = list(candidates(donor, target, evidence[target.name], similarity, options, progress))
            evaluated += found
            forced = target.name in share and bool(found)
            if forced:
                found = [max(found, key=lambda c: c.agreement.value if c.agreement else 0.0)]
            grown = [p.with_graft(target, c) for p in round_front for c in found]
            round_front = _pareto(grown if forced else [*round_front, *grown])
        front = _pareto([*front, *round_front])
        chosen = _pick(round_front, limits, forced=bool(share)) or chosen
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    if chosen not in front:
        front = [*front, chosen]
    limits.check(chosen)
    front.sort(key=lambda p: (-p.weights, -p.macs))
    return Outcome(chosen, tuple(front), tuple(evaluated), tuple(donors), explain(chosen, evaluated, limits), limits)


def next_donor(
    left: Sequence[Network], similarity: Similarity, share: Mapping[str, str], given: Mapping[str, Candidate]
) -> Network:
    """The next network that others are tried on: a donor of given grafts first."""
    free = [n for n in left if share.get(n.name, UNSHARED) == UNSHARED and n.name not in given] or list(left)
    wanted = {c.join.donor for name, c in given.items() if any(n.name == name for n in left)}
    return choose_donor([n for n in free if n.name in wanted] or free, similarity)


def _pareto(plans: Sequence[Plan]) -> list[Plan]:
    """The plans no other covers; of equal ones the first, which is the one with fewer changes."""
    kept: list[Plan] = []
    for candidate in plans:
        if not any(k.covers(candidate) for k in kept):
            kept = [k for k in kept if not candidate.covers(k)] + [candidate]
    return kept


def _pick(plans: Sequence[Plan], limits: Limits, forced: bool) -> Plan | None:
    feasible = [p for p in plans if limits.keeps_agreement(p)]
    if not feasible and forced:
        feasible = list(plans)
    fitting = [p for p in feasible if limits.fits(p)] or feasible
    return min(fitting, key=lambda p: (p.weights, p.macs, -p.lower_bound), default=None)


def explain(chosen: Plan, evaluated: Sequence[Candidate], limits: Limits) -> str:
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


def _contradiction(chosen: Plan, limits: Limits) -> ConfigurationError:
    needed = round(chosen.weights * limits.bytes_per_weight)
    if limits.max_weights_bytes is not None and needed > limits.max_weights_bytes:
        what, have, need = "max_weights_bytes", limits.max_weights_bytes, needed
    else:
        what, have, need = "max_macs", limits.max_macs or 0, chosen.macs
    return ConfigurationError(
        f"budget.{what} = {have} contradicts budget.min_agreement = {limits.min_agreement:g}: "
        f"the smallest plan that keeps it needs {need}",
        f"raise {what} to at least {need} or lower min_agreement",
    )
