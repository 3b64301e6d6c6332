"""What two networks have in common by descent: equal weights, or weights that come from a common parent."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.descent.common_part import CommonPart, common_part, frontier_of
from multigraft.converters.descent.frontiers import frontiers_between_cuts
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.network import CutPoint, Network

RELATED_COSINE = 0.5
"""Mean cosine between the weights of corresponding layers from which on networks count as related; independently
trained layers of any size worth sharing are far below (0 +- 1 / sqrt(size))."""


@dataclass(frozen=True)
class Lineage:
    """How far two networks run in step.

    Attributes:
        equal: Pairs of cut points (donor, target) up to which all weights are the same.
        common: All that is the same, branch by branch, where that is more than the last of ``equal`` holds; else None.
        related: Pairs up to which the structure is the same and the weights are close.
        frontiers: Pairs of sets of tensors up to which the structure is the same, where networks have no cut points.
        cosine: Mean cosine between the weights of corresponding layers, from the input as far as the structure agrees;
            0 where it does not agree at all.
    """

    equal: tuple[tuple[CutPoint, CutPoint], ...]
    related: tuple[tuple[CutPoint, CutPoint], ...]
    cosine: float
    common: CommonPart | None = None
    frontiers: tuple[tuple[Frontier, Frontier], ...] = ()

    @property
    def are_related(self) -> bool:
        """Whether the weights come from a common parent."""
        return self.cosine >= RELATED_COSINE

    @property
    def share_weights(self) -> bool:
        """Whether some weights are equal, or up to a cut point come from a common parent."""
        return bool(self.equal or self.common or self.related)


@functools.lru_cache(maxsize=256)
def lineage(donor: Network, target: Network) -> Lineage:
    """Compare two networks node by node from the input; both must see the same input for sharing without a refit."""
    if donor.preprocessing != target.preprocessing:
        return Lineage((), (), 0.0)
    names = {donor.input: target.input}
    cosines: list[float] = []
    steps = 0
    for mine, theirs in zip(donor.nodes, target.nodes, strict=False):
        if not _same_structure(donor, mine, target, theirs, names):
            break
        names.update(zip(mine.output, theirs.output, strict=True))
        for a, b in zip(mine.input, theirs.input, strict=True):
            if a in donor.constants:
                left, right = donor.constants[a], target.constants[b]
                if left.dtype.kind == "f" and left.ndim > 1:
                    cosines.append(_cosine(left, right))
        steps += 1
    pairs = [
        (p, q)
        for p, q in zip(donor.cut_points, target.cut_points, strict=False)
        if p.node_index == q.node_index and p.node_index < steps
    ]
    cosine = float(np.mean(cosines)) if cosines else 0.0
    related = tuple(pairs) if cosine >= RELATED_COSINE else ()
    frontiers = tuple(_frontiers(donor, target, steps, {theirs: mine for mine, theirs in names.items()}))
    common = common_part(donor, target)
    if common is None:
        return Lineage((), related, cosine, frontiers=frontiers)
    points = {p.name: p for p in donor.cut_points}
    straight = {t: d for t, d in common.matched.items() if t not in common.turned}
    equal = tuple((points[d], q) for q in target.cut_points if (d := straight.get(q.name, "")) in points)
    is_more = not equal or equal[-1][1].weights < common.target_point.weights
    return Lineage(equal, related, cosine, common if is_more else None, frontiers)


def _frontiers(
    donor: Network, target: Network, steps: int, theirs: dict[str, str]
) -> Iterator[tuple[Frontier, Frontier]]:
    for tensors in frontiers_between_cuts(target, steps):
        partners = tuple(theirs[t] for t in tensors)
        pair = [frontier_of(n, t, leading_nodes(n.nodes, t)) for n, t in ((donor, partners), (target, tensors))]
        yield pair[0], pair[1]


def weights_digest(network: Network) -> str:
    """SHA-256 over all constants in node order: equal for equal weights, whatever the tensors are called."""
    digest = hashlib.sha256()
    for node in network.nodes:
        digest.update(node.op_type.encode())
        for name in node.input:
            if name in network.constants:
                digest.update(network.constants[name].tobytes())
    return digest.hexdigest()


def _same_structure(
    donor: Network, mine: onnx.NodeProto, target: Network, theirs: onnx.NodeProto, names: dict[str, str]
) -> bool:
    if mine.op_type != theirs.op_type or len(mine.input) != len(theirs.input) or len(mine.output) != len(theirs.output):
        return False
    attributes = [{a.name: a.SerializeToString() for a in n.attribute} for n in (mine, theirs)]
    if attributes[0] != attributes[1]:
        return False
    for a, b in zip(mine.input, theirs.input, strict=True):
        if (a in donor.constants) != (b in target.constants):
            return False
        if a in donor.constants:
            if donor.constants[a].shape != target.constants[b].shape:
                return False
        elif a and names.get(a) != b:
            return False
    return True


def _cosine(a: np.ndarray, b: np.ndarray) -> float:  # type: ignore[type-arg]
    left, right = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right) + 1e-12))
