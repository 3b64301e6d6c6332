"""Grafting without frames: what statistics from the field allow where nothing can be refitted or measured.

Layers of equal weights are shared outright, since no answer changes. Where the statistics hold second moments of two
cut points, the error of one standing in for the other, through a stitching layer or as it is, decides. Agreement of
such a plan is not known; it reads "not measured" until ``multigraft calibrate validate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate, costed, make_tail
from multigraft.converters.graft.explanation import exceeded, why_untried
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import Lineage, lineage
from multigraft.converters.graft.search import Similarity, next_donor
from multigraft.converters.graft.sharing_plan import UNSHARED, Limits, PlanningResult, SharingPlan
from multigraft.converters.graft.stitching_layer import best_stitching_layer
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.network import CutPoint, Network
from multigraft.errors import ConfigurationError
from multigraft.statistics.statistics import Statistics

REMEDY = "give unlabeled frames, or refit on the device with multigraft calibrate plan and graft"


def plan_without_frames(
    networks: Sequence[Network],
    similarity: Similarity,
    limits: Limits,
    share: Mapping[str, str],
    given: Mapping[str, Candidate] | None = None,
    statistics: Mapping[str, Statistics] | None = None,
) -> PlanningResult:
    """Share what needs no refit.

    Args:
        networks: All of them.
        similarity: Unbiased CKA of two cut points by name.
        limits: Those of the budget; an agreement bound is only shown by grafts that were measured elsewhere.
        share: Task to the donor's layer it shares up to, or "none".
        given: Task to a graft that was refitted and measured on a device.
        statistics: Task to those whose second moments give stitching layers.

    Raises:
        ConfigurationError: A layer that was asked for cannot be shared without frames.
    """
    for task in (n for n in networks if share.get(n.name, UNSHARED) != UNSHARED):
        if not any(n.sees_frames_of(task) for n in networks if n is not task):
            raise ConfigurationError(
                f"task {task.name!r} cannot share: no other task looks at the same frames or crops",
                "take it out of [graft] share",
            )
    given = given or {}
    below = {t: c for t, c in given.items() if t not in share and not _keeps(c, limits)}
    given = {t: c for t, c in given.items() if t not in below}
    chosen = SharingPlan.apart(networks)
    nothing, evaluated, donors, errors = chosen, list(below.values()), [], dict[str, float]()
    left = list(networks)
    while len(left) > 1:
        donor = next_donor(left, similarity, share, given)
        donors.append(donor.name)
        for target in left:
            graft, error = given.get(target.name), None
            if graft is None and target.name not in below:
                of = (statistics or {}).get(target.name)
                graft, error = _graft(donor, target, similarity, share.get(target.name), of) or (None, None)
            if graft is not None and graft.join.donor == donor.name:
                if error is not None:
                    errors[target.name] = error
                chosen = chosen.with_graft(target, graft)
                evaluated.append(graft)
        left = [n for n in left if n is not donor and n.name not in chosen.grafts]
    front = (nothing, chosen) if chosen.grafts else (nothing,)
    untried = why_untried(
        networks, share, "no weights are equal, no moments show representations alike, and a refit needs frames"
    )
    message = _explain(chosen, below, errors, limits, untried) + exceeded(chosen, limits)
    return PlanningResult(chosen, front, tuple(evaluated), tuple(donors), message, limits)


def _keeps(graft: Candidate, limits: Limits) -> bool:
    return limits.keeps(graft.join.target, graft.agreement)


def _graft(
    donor: Network, target: Network, similarity: Similarity, wanted: str | None, statistics: Statistics | None
) -> tuple[Candidate, float | None] | None:
    """The best graft that needs no frame, with the error of the representation where it is not 0."""
    if target is donor or wanted == UNSHARED or not donor.sees_frames_of(target):
        return None
    line = lineage(donor, target)
    pair: tuple[CutPoint, CutPoint, Method] | None
    if wanted is None and line.common is not None:
        pair = line.common.donor_point, line.common.target_point, "exact"
    elif wanted is None:
        pair = (*line.equal[-1], "exact") if line.equal else None
    else:
        pair = _asked(line, donor.cut_point(wanted))
    stitched = None
    if statistics is not None and (wanted is None or pair is None or pair[2] != "exact"):
        stitched = best_stitching_layer(donor, target, statistics, similarity, wanted)
    if stitched is not None and (
        wanted or pair is None or stitched[0].join.target_point.node_index > pair[1].node_index
    ):
        return stitched
    if pair is None:
        if wanted is None:
            return None
        raise ConfigurationError(
            f"task {target.name!r} cannot share up to layer {wanted!r} of {donor.name!r} without frames: a refit needs "
            "them, and the statistics hold no moments of this layer",
            REMEDY,
        )
    at, cut, method = pair
    alike = None if isinstance(at, Frontier) else similarity(at.name, cut.name)
    join = Join(donor.name, target.name, at, cut, method, "relative", alike)
    return costed(join, make_tail(join, donor, target, ())[0], target), None


def _asked(line: Lineage, point: CutPoint) -> tuple[CutPoint, CutPoint, Method] | None:
    for pairs, method in ((line.equal, "exact"), (line.related, "raw")):
        for at, cut in pairs:
            if at == point:
                return at, cut, method  # type: ignore[return-value]
    return None


def _explain(
    chosen: SharingPlan, below: Mapping[str, Candidate], errors: Mapping[str, float], limits: Limits, untried: str
) -> str:
    if not chosen.grafts:
        sentence = f"nothing shared: {untried}"
    elif chosen.is_measured:
        sentence = f"refitted and measured on a device: {chosen.describe()}"
    else:
        sentence = f"without frames, agreement not all measured: {chosen.describe()}"
    for task, error in errors.items():
        sentence += f"; {100 * error:.1f} % of the variance of what {task} expects there is not reproduced"
    for task, graft in below.items():
        shown = "no agreement" if graft.agreement is None else f"a bound of {graft.agreement.lower_bound:.3f}"
        sentence += f"; {task} is left unshared, its refit shows {shown} and {limits.least(task):g} is asked for"
    return sentence
