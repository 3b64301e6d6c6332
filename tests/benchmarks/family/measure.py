"""What is left of accuracy after sharing raw, after a refit and after thinning, beside what is known without labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from multigraft.converters.graft.candidate import whole_agreement
from multigraft.converters.job.progress import Report
from multigraft.converters.network.network import Network
from multigraft.converters.similarity.representations import SimilarityTable, measure_similarity, union_of
from multigraft.converters.study.study import study
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thin
from tests.benchmarks.family.members import Member, degree_of

COMPARED = 384
"""Frames on which representations are compared."""

SHARES = (0.8, 0.6, 0.45, 0.3, 0.2, 0.12)
"""Of a thinned network's weights."""


@dataclass(frozen=True)
class Point:
    """One graft, or one thinned network.

    Attributes:
        way: ``raw``, ``refit`` or ``thinned``.
        cluster: Pair of networks, or network: points of one are not independent.
        donor: Network whose first layers serve; "" of a thinned one.
        target: Network whose accuracy is looked at.
        layer: The target's, up to which it is shared; "" of a thinned one.
        same_layer: Donor and target are cut at the same place.
        degree: As :func:`degree_of`; of a thinned network its family.
        kept: Accuracy on labelled frames, over the original's.
        cka: Unbiased, between the donor's and the target's layer; of a thinned network between its last layer before
            the head and the original's.
        pooled_cka: The same of representations averaged over space.
        agreement: With the original answers on held-out unlabeled frames.
        size: Share of the donor's weights that is shared; of a thinned network of its weights that is left.
    """

    way: str
    cluster: str
    donor: str
    target: str
    layer: str
    same_layer: bool
    degree: str
    kept: float
    cka: float
    pooled_cka: float
    agreement: float
    size: float


def compared(members: Sequence[Member], report: Report) -> tuple[SimilarityTable, SimilarityTable]:
    """All cut points of all networks: as they are, and averaged over space."""
    networks = [m.network for m in members]
    seen = union_of({m.network.name: m.evidence.fit for m in members}, COMPARED)
    return (
        measure_similarity(networks, seen, report=report),
        measure_similarity(networks, seen, is_pooled=True, report=report),
    )


def grafts(
    donor: Member, target: Member, tables: tuple[SimilarityTable, SimilarityTable], report: Report
) -> list[Point]:
    """The target on the donor at all cut points of equal shape, raw and refitted."""
    both, (flat, averaged) = (donor, target), tables
    found = study(
        [m.network for m in both],
        {m.network.name: m.evidence for m in both},
        {m.network.name: m.labelled for m in both},
        flat,
        pairs={(donor.network.name, target.network.name)},
        report=report,
    )
    points = []
    for p in found.points:
        cuts = donor.network.cut_point(p.donor_layer), target.network.cut_point(p.target_layer)
        points.append(
            Point(
                "raw" if p.method == "raw" else "refit",
                " and ".join(sorted((p.donor, p.target))),
                p.donor,
                p.target,
                p.target_layer,
                p.same_layer,
                degree_of(donor, target),
                p.kept,
                p.unbiased_cka,
                averaged(*(cut.name for cut in cuts)),
                p.agreement,
                cuts[0].weights / donor.network.weights,
            )
        )
    return points


def pairs(members: Sequence[Member], is_quick: bool) -> list[tuple[Member, Member]]:
    """Donor and target of every graft's networks: relatives both ways, and every third pair of others, ways in
    turn; kinds take turns, so that a study that is cut short has all.

    In a quick study relatives are taken one way, in turn as well.
    """
    related: list[tuple[Member, Member]] = []
    others: list[tuple[Member, Member]] = []
    for a, b in itertools.combinations(members, 2):
        (related if a.family == b.family else others).append((a, b))
    other, one_way = (
        [(b, a) if number % 2 else (a, b) for number, (a, b) in enumerate(of)] for of in (others[::3], related)
    )
    kinds = [other, one_way] if is_quick else [other, one_way, [(b, a) for a, b in one_way]]
    mixed = [pair for row in itertools.zip_longest(*kinds) for pair in row]
    return [pair for pair in mixed if pair is not None]


def thinned(member: Member, report: Report) -> list[Point]:
    """A network thinned to each of :data:`SHARES`."""
    points, network = [], member.network
    found, own = survey(network, member.evidence.fit), _accuracy(network, member)
    for share in SHARES:
        report(f"thin {network.name} to {share}")
        made = thin(network, member.evidence.fit, share, macs=0.0, found=found).network
        twin = Network("thinned", made.model, network.preprocessing)
        ends = network.cut_points[-1].name, twin.cut_points[-1].name
        cka, pooled = (_compared(network, twin, member, averages)(*ends) for averages in (False, True))
        agreed = whole_agreement(made, network, member.evidence, 0.95, None)
        kept, size = _accuracy(made, member) / own, made.weights / network.weights
        name, family = network.name, member.family
        points.append(Point("thinned", name, "", name, "", True, family, kept, cka, pooled, agreed.value, size))
    return points


def _compared(network: Network, other: Network, member: Member, is_pooled: bool) -> SimilarityTable:
    return measure_similarity([network, other], member.evidence.accept[:COMPARED], is_pooled=is_pooled)


def _accuracy(network: Network, member: Member) -> float:
    frames = network.prepare(member.labelled.frames)
    return member.labelled.accuracy(network.run(frames)[network.outputs[0]])
