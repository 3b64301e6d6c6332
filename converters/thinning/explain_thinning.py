"""Why a thinned plan was chosen, or none: beside what sharing alone and thinning alone would have come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from multigraft.converters.graft.explanation import APART, exceeded
from multigraft.converters.graft.sharing_plan import PlanningResult, SharingPlan
from multigraft.converters.settings.thin_shares import ThinShares


def explain_thinning(
    chosen: SharingPlan,
    outcome: PlanningResult,
    tried: Sequence[SharingPlan],
    shares: ThinShares,
    stuck: Collection[str] = (),
    nearest: SharingPlan | None = None,
) -> str:
    """One sentence.

    Args:
        chosen: The plan.
        outcome: Of the search that thins nothing.
        tried: All plans with thinned networks.
        shares: What was asked for.
        stuck: Tasks whose share was given as a number, and of which no plan takes a channel.
        nearest: Of all that was made, what has most to spare or misses the agreement budget least; None without any.
    """
    limits = outcome.limits
    if not chosen.narrowed:
        dearer = "no thinned plan costs less that keeps the budget and leaves int8 a part of it"
        why = dearer if tried else _why_none(chosen, shares, stuck, nearest)
        return f"{outcome.message}; nothing thinned: {why}"
    kept = "" if limits.keeps_agreement(chosen) else ", which was asked for and misses the agreement budget"
    # Where grafts were tried and none is taken, the sentence begins with why.
    is_alone = outcome.evaluated and not (chosen.grafts or outcome.chosen.grafts or kept)
    said = chosen.describe()
    if is_alone:
        said = f"{outcome.message.partition(APART)[0]}; thinning alone is better: {chosen.describe_thinned()}"
    beside = [_beside("sharing alone", [outcome.chosen] if outcome.chosen.grafts else [], chosen)]
    beside.append(_beside("thinning alone", [p for p in tried if not p.grafts and limits.keeps_agreement(p)], chosen))
    more = "".join(f"; {text}" for text in beside if text)
    return f"{said}{kept}{more}{exceeded(chosen, limits)}"


def _why_none(chosen: SharingPlan, shares: ThinShares, stuck: Collection[str], nearest: SharingPlan | None) -> str:
    """Why no plan has a thinned network."""
    with_trunk = [task for task in chosen.grafts if shares.of(chosen.trunk_of(task)) != "none"]
    if grafted := sorted(set(stuck) & set(with_trunk)):
        donor = chosen.trunk_of(grafted[0])
        return f"{grafted[0]} stands on the trunk of {donor}, whose share is that of both, so name {donor} instead"
    if stuck:
        is_donor = any(graft.join.donor in stuck for graft in chosen.grafts.values())
        together = " together with what stands on its trunk" if is_donor else ""
        return f"no channels of {' and '.join(sorted(stuck))} can go{together}"
    if nearest is not None:
        shown = f"{nearest.describe_thinned()} shows a bound of {nearest.lower_bound:.3f}"
        return f"no narrower network keeps the budget with something to spare for int8 ({shown})"
    return "no channels can go"


def _beside(name: str, plans: Sequence[SharingPlan], chosen: SharingPlan) -> str:
    if not plans or plans[0] == chosen:
        return ""
    plan = min(plans, key=lambda p: p.weights)
    return (
        f"{name} would have {plan.weights / max(chosen.weights, 1):.2f} times the weights and "
        f"{plan.macs / max(chosen.macs, 1):.2f} times the MACs"
    )
