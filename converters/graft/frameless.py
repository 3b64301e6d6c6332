"""Grafting without frames: what statistics from the field allow where nothing can be refitted or measured.

Layers of equal weights are shared outright, since no answer changes; related weights are shared raw where the user asks
for it. Agreement of such a plan is not known; it reads "not measured" until ``multigraft calibrate validate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate, Join, Method, costed, make_tail
from multigraft.converters.graft.lineage import Lineage, lineage
from multigraft.converters.graft.plan import UNSHARED, Limits, Outcome, Plan, next_donor
from multigraft.converters.graft.search import Similarity
from multigraft.converters.network import CutPoint, Network
from multigraft.errors import ConfigurationError

REMEDY = "give unlabeled frames, or refit on the device with multigraft calibrate plan and graft"


def plan_without_frames(
    networks: Sequence[Network],
    similarity: Similarity,
    limits: Limits,
    share: Mapping[str, str],
    given: Mapping[str, Candidate] | None = None,
) -> Outcome:
    """Share what needs no refit.

    Args:
        networks: All of them.
        similarity: Unbiased CKA of two cut points by name.
        limits: Of the budget; an agreement bound is only shown by grafts that were measured elsewhere.
        share: Task to the donor's layer it shares up to, or "none".
        given: Task to a graft that was refitted and measured on a device.

    Raises:
        ConfigurationError: A layer that was asked for cannot be shared without frames, or the plan exceeds a budget.
    """
    given = given or {}
    below = {t: c for t, c in given.items() if t not in share and not _keeps(c, limits)}
    given = {t: c for t, c in given.items() if t not in below}
    chosen = Plan({}, sum(n.weights for n in networks), sum(n.macs for n in networks))
    nothing, evaluated, donors = chosen, list(below.values()), []
    left = list(networks)
    while len(left) > 1:
        donor = next_donor(left, similarity, share, given)
        donors.append(donor.name)
        for target in left:
            graft = given.get(target.name)
            if graft is None and target.name not in below:
                graft = _graft(donor, target, similarity, share.get(target.name))
            if graft is not None and graft.join.donor == donor.name:
                chosen = chosen.with_graft(target, graft)
                evaluated.append(graft)
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    limits.check(chosen)
    front = (nothing, chosen) if chosen.grafts else (nothing,)
    return Outcome(chosen, front, tuple(evaluated), tuple(donors), _explain(chosen, below, limits), limits)


def _keeps(graft: Candidate, limits: Limits) -> bool:
    return graft.agreement is not None and graft.agreement.lower_bound >= limits.min_agreement


def _graft(donor: Network, target: Network, similarity: Similarity, wanted: str | None) -> Candidate | None:
    if target is donor or wanted == UNSHARED:
        return None
    line = lineage(donor, target)
    pair: tuple[CutPoint, CutPoint, Method] | None
    if wanted is None:
        pair = (*line.equal[-1], "exact") if line.equal else None
    else:
        pair = _asked(line, donor.cut_point(wanted))
        if pair is None:
            raise ConfigurationError(
                f"task {target.name!r} cannot share up to layer {wanted!r} of {donor.name!r} without frames: their "
                "weights are not related, and a refit needs frames",
                REMEDY,
            )
    if pair is None:
        return None
    at, cut, method = pair
    join = Join(donor.name, target.name, at, cut, method, "relative", similarity(at.name, cut.name))
    return costed(join, make_tail(join, donor, target, ())[0], target)


def _asked(line: Lineage, point: CutPoint) -> tuple[CutPoint, CutPoint, Method] | None:
    for pairs, method in ((line.equal, "exact"), (line.related, "raw")):
        for at, cut in pairs:
            if at == point:
                return at, cut, method  # type: ignore[return-value]
    return None


def _explain(chosen: Plan, below: Mapping[str, Candidate], limits: Limits) -> str:
    if not chosen.grafts:
        found = "nothing shared: without frames no layer can be refitted, and no weights are equal"
    elif chosen.is_measured:
        found = f"refitted and measured on a device: {chosen.describe()}"
    else:
        found = f"without frames, agreement not all measured: {chosen.describe()}"
    for task, graft in below.items():
        shown = "no agreement" if graft.agreement is None else f"a bound of {graft.agreement.lower_bound:.3f}"
        found += f"; {task} is left unshared, its refit shows {shown} and {limits.min_agreement:g} is asked for"
    return found
