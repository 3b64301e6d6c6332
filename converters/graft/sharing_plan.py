"""What planning chooses between: plans, each a point of the trade-off, and the budget they are held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from multigraft.agreement.agreement import Agreement
from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.join import METHOD_TEXT
from multigraft.converters.graft.missed_budget import Miss
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedNetwork
from multigraft.converters.settings.settings import Prefer

BYTES_PER_WEIGHT = {"int8": 1.0, "float32": 4.0, "dynamic": 1.0, "int4": 0.5, "binary": 4.0, "binary-int8": 1.0}
UNSHARED = "none"

TIMING_NOISE = 0.05
"""A plan is no faster than another for less of its time: two timings of one plan differ by as much."""


@dataclass(frozen=True)
class SharingPlan:
    """One point of the trade-off.

    Attributes:
        grafts: Target task to its graft; tasks that are not in it keep their own network.
        weights: Parameters of all segments together.
        macs: Multiply-accumulates for all tasks on one frame.
        agreement: The lowest agreement of any task with its original (1 where nothing is grafted, 0 where one was not
            measured).
        lower_bound: The lowest bound of any task; 0, which is all that is shown, where one was not measured.
        latency_us: All tasks on one frame here, float32, the parts one by one; None where it was not timed.
        thinned: Task that is not grafted to its network with fewer channels; others keep theirs as it is.
    """

    grafts: Mapping[str, Candidate]
    weights: int
    macs: int
    agreement: float = 1.0
    lower_bound: float = 1.0
    latency_us: float | None = None
    thinned: Mapping[str, ThinnedNetwork] = field(default_factory=dict)

    @classmethod
    def apart(cls, networks: Sequence[Network]) -> Self:
        """The networks side by side, as they came."""
        return cls({}, sum(n.weights for n in networks), sum(n.macs for n in networks))

    @property
    def is_measured(self) -> bool:
        """Whether the agreement of every changed task is known."""
        return all(agreement is not None for agreement in self.agreements.values())

    @property
    def agreements(self) -> dict[str, Agreement | None]:
        """Every task that does not stand as it came, to its agreement with its original."""
        grafted = {name: graft.agreement for name, graft in self.grafts.items()}
        return grafted | {name: network.agreement for name, network in self.thinned.items()}

    @property
    def narrowed(self) -> frozenset[str]:
        """The tasks whose network, or whose own part on a trunk that keeps its channels, has fewer."""
        return frozenset(self.thinned) | {name for name, graft in self.grafts.items() if graft.thinned}

    def thinned_json(self) -> dict[str, Any]:
        """What each of :attr:`narrowed` lost, as plain data."""
        tails = {name: graft.thinned_json() for name, graft in self.grafts.items() if graft.thinned}
        return {name: network.to_json() for name, network in self.thinned.items()} | tails

    def grafts_on(self, donor: str) -> list[Candidate]:
        """The grafts that stand on a network, at once or on one another: those that others stand on come first."""
        found, names = [], {donor}
        while left := [g for n, g in self.grafts.items() if g.join.donor in names and n not in names]:
            found += left
            names.update(g.join.target for g in left)
        return found

    def in_order(self) -> list[Candidate]:
        """All grafts, those that others stand on first."""
        roots = dict.fromkeys(g.join.donor for g in self.grafts.values() if g.join.donor not in self.grafts)
        return [g for root in roots for g in self.grafts_on(root)]

    def trunk_of(self, task: str) -> str:
        """The network that is not grafted and that a task stands on, at once or by others; itself where on none."""
        while task in self.grafts:
            task = self.grafts[task].join.donor
        return task

    def root(self, network: Network) -> Network:
        """What stands for a network that is not grafted."""
        return self.thinned[network.name].network if network.name in self.thinned else network

    def with_graft(self, target: Network, graft: Candidate) -> SharingPlan:
        value, bound = (graft.agreement.value, graft.agreement.lower_bound) if graft.agreement else (0.0, 0.0)
        return SharingPlan(
            {**self.grafts, target.name: graft},
            self.weights - target.weights + graft.own_weights,
            self.macs - target.macs + graft.own_macs,
            min(self.agreement, value),
            min(self.lower_bound, bound),
        )

    def with_grafts(
        self, grafts: Mapping[str, Candidate], thinned: Mapping[str, ThinnedNetwork] | None = None
    ) -> SharingPlan:
        """The same with other grafts of the same tasks and sizes: judged on other frames, or with other weights."""
        plan = dataclasses.replace(self, grafts=grafts, thinned=self.thinned if thinned is None else thinned)
        shown = [(a.value, a.lower_bound) if a else (0.0, 0.0) for a in plan.agreements.values()]
        return dataclasses.replace(
            plan,
            agreement=min((value for value, _ in shown), default=1.0),
            lower_bound=min((bound for _, bound in shown), default=1.0),
        )

    def with_thinned(
        self, task: str, network: ThinnedNetwork, grafts: Mapping[str, Candidate] | None = None
    ) -> SharingPlan:
        """The same with fewer channels in a task's network, and ``grafts`` in the place of those onto its trunk."""
        weights = self.weights - network.weights + network.network.weights
        macs = self.macs - network.macs + network.network.macs
        plan = dataclasses.replace(
            self, weights=weights, macs=macs, thinned={**self.thinned, task: network}, latency_us=None
        )
        return plan.with_tails(grafts or {})

    def with_tails(self, grafts: Mapping[str, Candidate]) -> SharingPlan:
        """The same with ``grafts`` in the place of those of the same tasks: their own parts have fewer channels."""
        weights, macs = self.weights, self.macs
        for name, graft in grafts.items():
            weights += graft.own_weights - self.grafts[name].own_weights
            macs += graft.own_macs - self.grafts[name].own_macs
        plan = dataclasses.replace(self, weights=weights, macs=macs, latency_us=None)
        return plan.with_grafts({**self.grafts, **grafts})

    def covers(self, other: SharingPlan, limits: Limits) -> bool:
        """Whether this plan is at least as good in weights, MACs, what its agreement bounds have to spare above
        ``limits``, and latency where both have one."""
        is_as_small = self.weights <= other.weights and self.macs <= other.macs
        return is_as_small and limits.spare(self) >= limits.spare(other) and self._is_as_fast(other)

    def _is_as_fast(self, other: SharingPlan) -> bool:
        if self.latency_us is None or other.latency_us is None:
            return True
        return self.latency_us <= other.latency_us * (1 + TIMING_NOISE)

    def describe(self) -> str:
        """One line: who shares up to where."""
        parts = (
            ["nothing shared"]
            if not self.grafts
            else [
                f"{name} on {c.join.donor} up to {c.join.donor_point.label} ({c.join.method})"
                for name, c in sorted(self.grafts.items())
            ]
        )
        return "; ".join([*parts, *([self.describe_thinned()] if self.narrowed else [])])

    def describe_thinned(self) -> str:
        """Which networks have fewer channels, and what is left of them."""
        return "; ".join(
            f"{name if name in self.thinned else f'the own part of {name}'} thinned to "
            f"{_percent(lost['weights'])} % of its weights and {_percent(lost['macs'])} % of its MACs"
            for name, lost in sorted(self.thinned_json().items())
        )


def _percent(figures: Sequence[int]) -> str:
    before, after = figures
    return f"{100 * after / max(before, 1):.0f}"


@dataclass(frozen=True)
class Limits:
    """The budget as numbers; None where the user set none, and what is to be small within it.

    ``least_agreements`` holds what tasks have to keep of their own, in place of ``min_agreement``.
    """

    min_agreement: float = 0.95
    max_weights_bytes: int | None = None
    max_macs: int | None = None
    bytes_per_weight: float = 1.0
    prefer: Prefer = "weights"
    least_agreements: Mapping[str, float] = field(default_factory=dict)

    def least(self, task: str) -> float:
        """The agreement that a task has to show."""
        return self.least_agreements.get(task, self.min_agreement)

    @property
    def macs_in_cost(self) -> float:
        """How much of what channels cost are multiply-accumulates, 0..1; the rest are weights."""
        return 0.0 if self.prefer == "weights" else 1.0

    def keeps(self, task: str, agreement: Agreement | None) -> bool:
        """Whether a task shows what it has to."""
        return agreement is not None and agreement.lower_bound >= self.least(task)

    def spare(self, plan: SharingPlan) -> float:
        """What the bound of the task that has least to spare lies above what it has to show."""
        bounds = {task: a.lower_bound if a else 0.0 for task, a in plan.agreements.items()}
        return min((bound - self.least(task) for task, bound in bounds.items()), default=1.0)

    def keeps_agreement(self, plan: SharingPlan) -> bool:
        return all(self.keeps(task, agreement) for task, agreement in plan.agreements.items())

    def fits(self, plan: SharingPlan) -> bool:
        return self.excess(plan) <= 1

    def excess(self, plan: SharingPlan) -> float:
        """The largest share of a limit of size that the plan takes; 0 without limits, above 1 where one is missed."""
        weights = plan.weights * self.bytes_per_weight
        return max(
            0.0 if self.max_weights_bytes is None else weights / self.max_weights_bytes,
            0.0 if self.max_macs is None else plan.macs / self.max_macs,
        )

    def missed(self, plan: SharingPlan) -> tuple[Miss, ...]:
        """What the plan misses of the budget, as far as a plan shows it: bytes are estimated from parameter counts."""
        misses = [
            Miss("min_agreement", a.lower_bound, self.least(task), task, a.frames)
            for task, a in plan.agreements.items()
            if a is not None and a.lower_bound < self.least(task)
        ]
        for key, limit, figure in (
            ("max_weights_bytes", self.max_weights_bytes, plan.weights * self.bytes_per_weight),
            ("max_macs", self.max_macs, plan.macs),
        ):
            if limit is not None and figure > limit:
                misses.append(Miss(key, figure, limit))
        return tuple(misses)


@dataclass(frozen=True)
class PlanningResult:
    """What planning found.

    Attributes:
        chosen: The plan the budget picks.
        front: The Pareto front over weights, MACs, agreement bound and, where it is preferred, latency, from nothing
            shared to most.
        evaluated: Every graft that was evaluated.
        donors: Networks that others were tried on, in order.
        message: Why this plan, in one sentence.
        limits: Those that chose.
        promised: ``chosen`` with its agreement on frames that no choice has looked at; None where nothing was proved.
    """

    chosen: SharingPlan
    front: tuple[SharingPlan, ...]
    evaluated: tuple[Candidate, ...]
    donors: tuple[str, ...]
    message: str
    limits: Limits = field(default_factory=Limits)
    promised: SharingPlan | None = None

    @property
    def spared_bytes(self) -> int:
        """By how much the chosen plan's weights are fewer than those of the networks apart, in bytes of the bundle."""
        apart = next((plan for plan in self.front if not plan.agreements), self.chosen)
        return round((apart.weights - self.chosen.weights) * self.limits.bytes_per_weight)

    def misses(self) -> tuple[Miss, ...]:
        """What the chosen plan misses of the budget, by what is promised of it."""
        return self.limits.missed(self.promised or self.chosen)

    def to_json(self) -> dict[str, Any]:
        """The Pareto front and all evaluated grafts as plain data."""
        promised = self.promised.agreements if self.promised else {}
        return {
            "message": self.message,
            "promised": {name: a.to_json() for name, a in promised.items() if a},
            "donors": list(self.donors),
            "pareto": self.pareto_json(),
            "evaluated": self.evaluated_json(),
        }

    def pareto_json(self) -> list[dict[str, Any]]:
        """The front as plain data for the report and the JSON file."""
        return [
            {
                "plan": plan.describe(),
                "weights_bytes": round(plan.weights * self.limits.bytes_per_weight),
                "weights_bytes_validity": "estimate from parameter counts",
                "macs": plan.macs,
                "latency_us": plan.latency_us,
                "agreement": {name: a.to_json() for name, a in plan.agreements.items() if a},
                "thinned": plan.thinned_json(),
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
