"""Why a thinned plan was chosen, or none: beside what sharing alone and thinning alone would have come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from multigraft.converters.graft.explanation import exceeded
from multigraft.converters.graft.sharing_plan import PlanningResult, SharingPlan


def explain_thinning(
    chosen: SharingPlan, outcome: PlanningResult, tried: Sequence[SharingPlan], named: Collection[str] = ()
) -> str:
    """One sentence.

    Args:
        chosen: The plan.
        outcome: Of the search that thins nothing.
        tried: All plans with thinned networks.
        named: Tasks whose share was given as a number.
    """
    limits = outcome.limits
    if not chosen.thinned:
        best = max((p.lower_bound for p in tried), default=None)
        why = "no channels can go" if best is None else "no thinned plan that keeps the budget costs less"
        if best is None and (grafted := sorted(set(named) & chosen.grafts.keys())):
            donor = chosen.grafts[grafted[0]].join.donor
            why = f"{grafted[0]} stands on the trunk of {donor}, whose share is that of both, so name {donor} instead"
        return f"{outcome.message}; nothing thinned: {why}"
    kept = "" if limits.keeps_agreement(chosen) else ", which was asked for and misses the agreement budget"
    beside = [_beside("sharing alone", [outcome.chosen] if outcome.chosen.grafts else [], chosen)]
    beside.append(_beside("thinning alone", [p for p in tried if not p.grafts and limits.keeps_agreement(p)], chosen))
    more = "".join(f"; {text}" for text in beside if text)
    return f"{chosen.describe()}{kept}{more}{exceeded(chosen, limits)}"


def _beside(name: str, plans: Sequence[SharingPlan], chosen: SharingPlan) -> str:
    if not plans or plans[0] == chosen:
        return ""
    plan = min(plans, key=lambda p: p.weights)
    return (
        f"{name} would have {plan.weights / max(chosen.weights, 1):.2f} times the weights and "
        f"{plan.macs / max(chosen.macs, 1):.2f} times the MACs"
    )
