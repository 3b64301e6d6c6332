"""What planning chooses between: plans, each a point of the trade-off, and the budget they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.join import METHOD_TEXT
from multigraft.converters.network.network import Network
from multigraft.errors import ConfigurationError

BYTES_PER_WEIGHT = {"int8": 1.0, "float32": 4.0, "dynamic": 1.0, "int4": 0.5}
UNSHARED = "none"


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

    def with_graft(self, target: Network, graft: Candidate) -> SharingPlan:
        value, bound = (graft.agreement.value, graft.agreement.lower_bound) if graft.agreement else (0.0, 0.0)
        return SharingPlan(
            {**self.grafts, target.name: graft},
            self.weights - target.weights + graft.own_weights,
            self.macs - target.macs + graft.own_macs,
            min(self.agreement, value),
            min(self.lower_bound, bound),
        )

    def covers(self, other: SharingPlan) -> bool:
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

    def keeps_agreement(self, plan: SharingPlan) -> bool:
        return not plan.grafts or plan.lower_bound >= self.min_agreement

    def fits(self, plan: SharingPlan) -> bool:
        return (self.max_weights_bytes is None or plan.weights * self.bytes_per_weight <= self.max_weights_bytes) and (
            self.max_macs is None or plan.macs <= self.max_macs
        )

    def check(self, plan: SharingPlan) -> None:
        """Refuse a plan that costs more than the budget.

        Raises:
            ConfigurationError: It does.
        """
        if not self.fits(plan):
            raise _contradiction(plan, self)


@dataclass(frozen=True)
class PlanningResult:
    """What planning found.

    Attributes:
        chosen: The plan the budget picks.
        front: The Pareto front over weights, MACs and agreement bound, from nothing shared to most.
        evaluated: Every graft that was evaluated.
        donors: Networks that others were tried on, in order.
        message: Why this plan, in one sentence.
    """

    chosen: SharingPlan
    front: tuple[SharingPlan, ...]
    evaluated: tuple[Candidate, ...]
    donors: tuple[str, ...]
    message: str
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        """The Pareto front and all evaluated grafts as plain data."""
        return {
            "message": self.message,
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


def _contradiction(chosen: SharingPlan, limits: Limits) -> ConfigurationError:
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
