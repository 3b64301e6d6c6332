"""Why a plan was chosen, in one sentence made of the numbers that chose it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.missed_budget import in_words
from multigraft.converters.graft.sharing_plan import UNSHARED, Limits, SharingPlan
from multigraft.converters.network.network import Network

APART = "; the bundle holds the networks side by side"
"""What ends a sentence where nothing is shared."""

NOTHING_FITS = "no two networks have representations that fit together"

_FIRST = {"weights": "smallest plan", "macs": "plan of fewest MACs", "latency": "fastest plan on this machine"}


def explain(
    chosen: SharingPlan,
    considered: Sequence[SharingPlan],
    evaluated: Sequence[Candidate],
    limits: Limits,
    untried: str = NOTHING_FITS,
) -> str:
    """Why this plan.

    Args:
        chosen: It.
        considered: The plans it was chosen from.
        evaluated: Every graft that was evaluated.
        limits: Those that chose.
        untried: Why nothing was evaluated, where nothing was.
    """
    return _reason(chosen, considered, evaluated, limits, untried) + exceeded(chosen, limits)


def why_untried(networks: Sequence[Network], share: Mapping[str, str], otherwise: str) -> str:
    """Why no graft was tried.

    Args:
        networks: All of the build.
        share: Task to the donor's layer it shares up to, or "none".
        otherwise: The reason where neither the number of networks nor ``share`` is it.
    """
    if len(networks) == 1:
        return f"{networks[0].name} is the only network, and sharing needs two"
    apart = [n.name for n in networks if share.get(n.name) == UNSHARED]
    if not apart:
        return otherwise
    rest = "" if len(networks) - len(apart) < 2 else f", and of the others {otherwise}"
    return f'[graft] share = "{UNSHARED}" keeps {_listed(apart)} apart{rest}'


def _listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def exceeded(chosen: SharingPlan, limits: Limits) -> str:
    """What of the limits of size the plan misses, to be added to a sentence; nothing where it keeps them."""
    missed = [m for m in limits.missed(chosen) if m.key != "min_agreement"]
    return f"; no plan keeps every limit, this one misses {in_words(missed)}" if missed else ""


def poor_bargain(plan: SharingPlan, front: Sequence[SharingPlan], limits: Limits, thins: bool) -> str:
    """Whether a plan gains less than it loses, to be added to a sentence; nothing where it does not.

    Args:
        plan: The chosen one, with the agreement that was proved.
        front: All plans worth a look, among them that of the networks as they came.
        limits: Those that chose.
        thins: Whether networks could be thinned, too.
    """
    apart = next((p for p in front if not p.agreements), None)
    if apart is None or not plan.agreements or not plan.is_measured:
        return ""
    figures = (plan.weights, apart.weights) if limits.prefer == "weights" else (plan.macs, apart.macs)
    gained, lost = 1 - figures[0] / max(figures[1], 1), 1 - plan.agreement
    if gained >= lost:
        return ""
    what = "weights" if limits.prefer == "weights" else "MACs"
    better = "the networks apart would be better" if thins else 'thin = "auto" looks for better'
    paid = f"{100 * gained:.1f} % of the {what} for {100 * lost:.1f} % of answers"
    return f"; it gains less than it loses, {paid}: {better}"


def _reason(
    chosen: SharingPlan,
    considered: Sequence[SharingPlan],
    evaluated: Sequence[Candidate],
    limits: Limits,
    untried: str,
) -> str:
    tasks = sorted(chosen.grafts or {c.join.target for c in evaluated})
    asked = " or ".join(f"{least:g}" for least in sorted({limits.least(task) for task in tasks}))
    if chosen.grafts:
        kept = "" if limits.keeps_agreement(chosen) else ", which was asked for and misses the agreement budget"
        return f"{_FIRST[limits.prefer]} with an agreement bound of at least {asked}: {chosen.describe()}{kept}"
    if not evaluated:
        return f"nothing shared: {untried}"
    best = max(c.agreement.lower_bound if c.agreement else 0.0 for c in evaluated)
    if not any(limits.keeps(c.join.target, c.agreement) for c in evaluated):
        return f"nothing shared: no graft keeps an agreement bound of {asked} (the best reaches {best:.3f}){APART}"
    kept_plans = [p for p in considered if p.grafts and limits.keeps_agreement(p)]
    if not kept_plans:
        return (
            f"nothing shared: no graft that keeps an agreement bound of {asked} (the best reaches {best:.3f}) has "
            f"fewer weights or MACs than the networks apart{APART}"
        )
    by_macs = limits.prefer != "macs"
    other = min(kept_plans, key=lambda p: (p.macs, p.weights) if by_macs else (p.weights, p.macs))
    difference = (
        f"{_change(other.macs, chosen.macs)} MACs and {_change(other.weights, chosen.weights)} weights "
        f"({other.weights - chosen.weights:+,})"
    )
    if other.latency_us is not None and chosen.latency_us is not None:
        difference += f" in {_change(other.latency_us, chosen.latency_us)} time"
    taken = "macs" if other.macs < chosen.macs else "weights"
    remedy = f'prefer = "{limits.prefer}" decides, and prefer = "{taken}" takes it'
    if limits.fits(chosen) and not limits.fits(other):
        remedy = f"it misses {in_words([m for m in limits.missed(other) if m.key != 'min_agreement'])}"
    return (
        f"nothing shared: {other.describe()} keeps a bound of {other.lower_bound:.3f} with {difference} than the "
        f"networks apart, but {remedy}{APART}"
    )


def _change(new: float, old: float) -> str:
    """``39 % fewer``, ``0.2 % more``."""
    share = (new - old) / max(old, 1)
    digits = 0 if abs(share) >= 0.1 else 2
    return f"{100 * abs(share):.{digits}f} % {'fewer' if share < 0 else 'more'}"
