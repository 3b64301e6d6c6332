"""Why a plan was chosen, in one sentence made of the numbers that chose it."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.missed_budget import in_words
from multigraft.converters.graft.sharing_plan import Limits, SharingPlan

_FIRST = {"weights": "smallest plan", "macs": "plan of fewest MACs", "latency": "fastest plan on this machine"}


def explain(
    chosen: SharingPlan, considered: Sequence[SharingPlan], evaluated: Sequence[Candidate], limits: Limits
) -> str:
    """Why this plan.

    Args:
        chosen: It.
        considered: The plans it was chosen from.
        evaluated: Every graft that was evaluated.
        limits: Those that chose.
    """
    return _reason(chosen, considered, evaluated, limits) + exceeded(chosen, limits)


def exceeded(chosen: SharingPlan, limits: Limits) -> str:
    """What of the limits of size the plan misses, to be added to a sentence; nothing where it keeps them."""
    missed = [m for m in limits.missed(chosen) if m.key != "min_agreement"]
    return f"; no plan keeps every limit, this one misses {in_words(missed)}" if missed else ""


def _reason(
    chosen: SharingPlan, considered: Sequence[SharingPlan], evaluated: Sequence[Candidate], limits: Limits
) -> str:
    asked = f"{limits.min_agreement:g}"
    if chosen.grafts:
        kept = "" if limits.keeps_agreement(chosen) else ", which was asked for and misses the agreement budget"
        return f"{_FIRST[limits.prefer]} with an agreement bound of at least {asked}: {chosen.describe()}{kept}"
    if not evaluated:
        return "nothing shared: no two networks have representations that fit together"
    apart = "the bundle holds the networks side by side"
    best = max(c.agreement.lower_bound if c.agreement else 0.0 for c in evaluated)
    if best < limits.min_agreement:
        return f"nothing shared: no graft keeps an agreement bound of {asked} (the best reaches {best:.3f}); {apart}"
    kept_plans = [p for p in considered if p.grafts and limits.keeps_agreement(p)]
    if not kept_plans:
        return (
            f"nothing shared: no graft that keeps an agreement bound of {asked} (the best reaches {best:.3f}) has "
            f"fewer weights or MACs than the networks apart; {apart}"
        )
    by_macs = limits.prefer != "macs"
    other = min(kept_plans, key=lambda p: (p.macs, p.weights) if by_macs else (p.weights, p.macs))
    difference = (
        f"{_change(other.macs, chosen.macs)} MACs and {_change(other.weights, chosen.weights)} weights "
        f"({other.weights - chosen.weights:+,})"
    )
    taken = "macs" if other.macs < chosen.macs else "weights"
    remedy = f'prefer = "{limits.prefer}" decides, and prefer = "{taken}" takes it'
    if limits.fits(chosen) and not limits.fits(other):
        remedy = f"it misses {in_words([m for m in limits.missed(other) if m.key != 'min_agreement'])}"
    return (
        f"nothing shared: {other.describe()} keeps a bound of {other.lower_bound:.3f} with {difference} than the "
        f"networks apart, but {remedy}; {apart}"
    )


def _change(new: int, old: int) -> str:
    """``39 % fewer``, ``0.2 % more``."""
    share = (new - old) / max(old, 1)
    digits = 0 if abs(share) >= 0.1 else 2
    return f"{100 * abs(share):.{digits}f} % {'fewer' if share < 0 else 'more'}"
