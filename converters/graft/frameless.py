"""Grafting without frames: what statistics from the field allow where nothing can be refitted or measured.

Layers of equal weights are shared outright, since no answer changes; related weights are shared raw where the user asks
for it. Agreement of such a plan is not known; it reads "not measured" until ``multigraft calibrate validate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate, Join, Method, costed, make_tail
from multigraft.converters.graft.lineage import Lineage, lineage
from multigraft.converters.graft.plan import UNSHARED, Limits, Outcome, Plan
from multigraft.converters.graft.search import Similarity, choose_donor
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
    chosen = Plan({}, sum(n.weights for n in networks), sum(n.macs for n in networks))
    front, evaluated, donors = [chosen], [], []
    left = [n for n in networks if n.name not in given]
    wanted_donors = list(dict.fromkeys(c.join.donor for c in given.values()))
    while len(left) > 1 or wanted_donors:
        free = [n for n in left if share.get(n.name, UNSHARED) == UNSHARED] or left
        donor = choose_donor([n for n in free if n.name in wanted_donors] or free, similarity)
        wanted_donors = [name for name in wanted_donors if name != donor.name]
        donors.append(donor.name)
        for target in networks:
            graft = given.get(target.name)
            if graft is None and target in left:
                graft = _graft(donor, target, similarity, share.get(target.name))
            if graft is None or graft.join.donor != donor.name or target.name in chosen.grafts:
                continue
            chosen = chosen.with_graft(target, graft)
            evaluated.append(graft)
            front.append(chosen)
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    limits.check(chosen)
    front = sorted([p for p in front if p is chosen or not p.grafts], key=lambda p: (-p.weights, -p.macs))
    return Outcome(chosen, tuple(front), tuple(evaluated), tuple(donors), _explain(chosen), limits)


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


def _explain(chosen: Plan) -> str:
    if not chosen.grafts:
        return "nothing shared: without frames no layer can be refitted, and no weights are equal"
    if chosen.is_measured:
        return f"refitted and measured on a device: {chosen.describe()}"
    return f"without frames, agreement not measured: {chosen.describe()}"
