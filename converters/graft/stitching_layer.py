"""The 1x1 stitch: a linear map from the donor's channels to the target's, solved from second moments alone.

Statistics from the field hold, for pairs of cut points with equal positions, sums of products of their channels. From
them follow the ridge regression of one representation on the other, and the squared error of it, or of none at all
where the shapes are equal (raw sharing), as a part of the target's variance. The layers behind stay as they were; how
often the answers then agree is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.bundle.manifest import Relation
from multigraft.converters.graft.adapter import Adapter
from multigraft.converters.graft.candidate import Candidate, adapter_draft, costed, make_tail
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.graft.refit import with_constants
from multigraft.converters.graft.search import Similarity
from multigraft.converters.graft.tail import tail_of
from multigraft.converters.network.network import Array, CutPoint, Network
from multigraft.refit.ridge import RidgeSums, Solution, variance_restored
from multigraft.statistics import entries
from multigraft.statistics.statistics import Statistics

STRENGTH = 1e-4
"""Strength of the ridge, relative to the variance of the inputs."""

MAX_ERROR = 0.05
"""Largest squared error over variance at which a representation stands in for another without being asked for. On the
demo's networks relatives have 0.001 to 0.05 and then agree on 97 to 100 % of frames; independent networks have 0.2 to
0.7, and from their second cut point on agree on 11 to 90 %."""


@dataclass(frozen=True)
class Moments:
    """Second moments of a pair of cut points, over the same frames and positions."""

    sums: RidgeSums

    @property
    def is_enough(self) -> bool:
        """Whether there are rows enough to solve a stitching layer."""
        return self.sums.rows >= 3 * self.sums.xx.shape[1]

    @property
    def variance(self) -> float:
        """Variance of the target's representation, times the rows."""
        return self.sums.variance() + 1e-12

    @property
    def raw_error(self) -> float | None:
        """Squared error of the donor's channels as they are over the target's variance; None for unequal shapes."""
        inputs, outputs = self.sums.xy.shape[1:]
        if inputs != outputs:
            return None
        return max(self.sums.error(np.eye(inputs)[None], np.zeros((1, inputs))), 0.0) / self.variance

    def solve(self) -> Solution:
        """The stitching layer, with its error on rows that it has not seen, as the degrees of freedom give it."""
        sums = self.sums
        weight, intercept = sums.solve(np.zeros_like(sums.xy), STRENGTH)
        unseen = sums.rows / (sums.rows - sums.xx.shape[1] - 1)
        return Solution(weight, intercept, STRENGTH, unseen * max(sums.error(weight, intercept), 0.0) / self.variance)


def moments(statistics: Statistics, donor: CutPoint, target: CutPoint) -> Moments | None:
    """What the statistics hold of this pair, or None."""
    xx, yy = statistics.cross_moments(donor.name, donor.name), statistics.cross_moments(target.name, target.name)
    xy = statistics.cross_moments(donor.name, target.name)
    rows = statistics.cross_rows(target.name)
    if xx is None or yy is None or xy is None or not rows:
        return None
    x, y = (statistics.overall.sums[entries.first_moments(p.name)].values() for p in (donor, target))
    sums = RidgeSums(xx[None], xy[None], np.diag(yy)[None].copy(), x[None], y[None], rows)
    return Moments(sums)


def stitching_candidates(
    donor: Network, target: Network, statistics: Statistics, similarity: Similarity, wanted: str | None
) -> Iterator[tuple[Candidate, float]]:
    """Ways to share without frames, from shallow to deep, with the error of the representation.

    Args:
        donor: Gives its first layers.
        target: Takes them.
        statistics: Those collected of both.
        similarity: Unbiased CKA of two cut points by name.
        wanted: The donor's layer alone to look at, or None for all.
    """
    line = lineage(donor, target)
    relation: Relation = "relative" if line.equal or line.related else "independent"
    at = None if wanted is None else donor.cut_point(wanted)
    for t in target.cut_points:
        for d in donor.cut_points:
            if at not in (None, d) or d.shape[1:] != t.shape[1:] or (pair := moments(statistics, d, t)) is None:
                continue
            cka = similarity(d.name, t.name)
            if (d, t) in line.related and (error := pair.raw_error) is not None:
                join = Join(donor.name, target.name, d, t, "raw", relation, cka)
                yield costed(join, make_tail(join, donor, target, ())[0], target), error
            if pair.is_enough:
                join = Join(donor.name, target.name, d, t, "stitch", relation, cka)
                yield _with_stitching_layer(join, target, pair)


def best_stitching_layer(
    donor: Network, target: Network, statistics: Statistics, similarity: Similarity, wanted: str | None
) -> tuple[Candidate, float] | None:
    """The deepest with at most :data:`MAX_ERROR`, or at the donor's layer ``wanted`` that of the least error."""
    candidates = list(stitching_candidates(donor, target, statistics, similarity, wanted))
    if wanted is not None:
        return min(candidates, key=lambda c: c[1], default=None)
    good = [c for c in candidates if c[1] <= MAX_ERROR]
    return max(good, key=lambda c: (c[0].join.target_point.node_index, -c[1]), default=None)


def _with_stitching_layer(join: Join, target: Network, pair: Moments) -> tuple[Candidate, float]:
    draft = adapter_draft(join, target)
    solution = pair.solve()
    error = solution.relative_error
    if not draft.after:
        solution = variance_restored(solution, pair.sums)
    rest = target.nodes[join.target_point.node_index + 1 :]
    source = join.donor_point.name
    absorbed = _absorbed(join, target, solution)
    if absorbed is not None:
        node, solved = absorbed
        tail = tail_of((node, *rest[1:]), target.constants | solved, (source,), target)
        return costed(join, tail, target, adapter=Adapter((), {}, source, error)), error
    values = draft.layer.initializers(solution.weight, solution.intercept)
    constants = draft.constants | {draft.weight: values[1], draft.bias: values[2]}
    tail = tail_of((*draft.nodes, *rest), target.constants | constants, (source,), target)
    return costed(join, tail, target, adapter=Adapter(draft.nodes, constants, source, error)), error


def _absorbed(join: Join, target: Network, stitch: Solution) -> tuple[onnx.NodeProto, dict[str, Array]] | None:
    """The dense layer behind the cut with the stitch multiplied into it; None if another kind of layer follows.

    One layer less; and the converter would merge their biases itself, which leaves a tensor between that no range is
    known of.
    """
    cut = join.target_point
    readers = [n for n in target.nodes if cut.name in n.input]
    first = target.nodes[cut.node_index + 1]
    if len(cut.shape) != 1 or readers != [first]:
        return None
    layer = linear_layer(first, target.constants)
    if layer is None or layer.geometry.kind != "dense" or not layer.geometry.takes_bias:
        return None
    weight = stitch.weight @ layer.weight
    intercept = np.einsum("gi,gio->go", stitch.intercept, layer.weight) + layer.intercept
    node, solved = with_constants(first, layer.initializers(weight, intercept), f"{target.name}/{first.output[0]}")
    node.input[0] = join.donor_point.name
    return node, solved
