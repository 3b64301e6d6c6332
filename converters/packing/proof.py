"""What a plan promises: its grafts measured on frames that no choice has looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from multigraft.agreement.agreement import Agreement
from multigraft.converters.graft.candidate import agreement_of, whole_agreement
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, SharingPlan
from multigraft.converters.network.network import Network
from multigraft.converters.planning.grown import grown


def proved(
    plan: SharingPlan, networks: Sequence[Network], evidence: Mapping[str, Evidence], options: SearchOptions
) -> SharingPlan:
    """``plan`` with the agreement of every changed task as the frames of the proof show it.

    Args:
        plan: The chosen one. Only one may be proved: choosing among proofs would make them choices.
        networks: All of them.
        evidence: Task to its frames; a graft without stays as it is.
        options: Confidence and tolerances.
    """
    by_name = {n.name: n for n in networks}
    grafts, thinned = dict(plan.grafts), dict(plan.thinned)
    for name, graft in plan.grafts.items():
        if name not in evidence:
            continue
        donor, tolerance = grown(by_name[graft.join.donor], plan, by_name), (options.tolerances or {}).get(name)
        own = evidence[name].proof
        shown = agreement_of(graft.join, graft.tail, donor, by_name[name], own, options.confidence, tolerance)
        grafts[name] = dataclasses.replace(graft, agreement=shown)
    for name, part in plan.thinned.items():
        if name in evidence:
            asked = options.confidence, (options.tolerances or {}).get(name)
            shown = whole_agreement(part.network, by_name[name], evidence[name].proof, *asked)
            thinned[name] = dataclasses.replace(part, agreement=shown)
    return plan.with_grafts(grafts, thinned)


def shortfall(plan: SharingPlan, limits: Limits) -> str:
    """What of a proved plan lies below the budget, to be added to a sentence; nothing where all keep it."""
    short: list[tuple[str, Agreement]] = [
        (name, a) for name, a in plan.agreements.items() if a is not None and a.lower_bound < limits.least(name)
    ]
    return "".join(
        f"; on {a.frames:,} frames that no choice has looked at, {name} shows {a.lower_bound:.4f} "
        f"and not {limits.least(name):g}"
        for name, a in short
    )
