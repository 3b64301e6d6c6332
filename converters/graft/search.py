"""Which grafts are worth evaluating: the donor, the pairs of cut points and the methods, ranked by similarity."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from multigraft.answers.own_format import OwnFormat
from multigraft.bundle.manifest import Relation
from multigraft.converters.graft.adapter import is_joinable
from multigraft.converters.graft.candidate import REFIT_RUNS, Candidate, evaluate, refit_frames
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import Lineage, lineage
from multigraft.converters.graft.saved_evaluations import SavedEvaluations
from multigraft.converters.graft.sharing_plan import UNSHARED
from multigraft.converters.job.effort import EFFORTS, MEDIUM, Effort
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.job.workers import HERE, Workers
from multigraft.converters.network.frontier import Frontier, tensors_of
from multigraft.converters.network.network import CutPoint, Network
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError

Similarity = Callable[[str, str], float]
"""Unbiased CKA of two cut points by name."""

SMALL_MACS = 50_000_000
"""Networks up to this size are searched at every cut point with every method; in larger ones the deepest cut point that
keeps the agreement asked for is looked for by halving, with fewer methods."""

MIN_HALVINGS = 2
"""Of the cut points of large networks, however long evaluating them takes."""

TIE = 0.01
HOPELESS = 0.5
MOST_HOPELESS = 2
"""After so many cut points in a row whose best agreement is below :data:`HOPELESS`, deeper ones are not tried."""


@dataclass(frozen=True)
class SearchOptions:
    """How candidates are evaluated.

    Attributes:
        confidence: That of the agreement bound.
        tolerances: Task to tolerance, where the kind has one.
        seed: That of every random choice.
        share: Task to the donor's layer it shares up to ("none" for no sharing), instead of the search.
        enough: A relative whose raw sharing has at least this agreement bound is not refitted at that point.
        saved: Where evaluated grafts are kept while a build runs, or None.
        enough_of: Task to its ``enough`` where that is another.
        effort: What the search may spend on large networks.
        workers: Where grafts are evaluated.
    """

    confidence: float = 0.95
    tolerances: Mapping[str, float | None] | None = None
    seed: int = 0
    share: Mapping[str, str] | None = None
    enough: float = 1.0
    saved: SavedEvaluations | None = None
    enough_of: Mapping[str, float] = field(default_factory=dict)
    effort: Effort = MEDIUM
    workers: Workers = HERE

    @classmethod
    def of(cls, settings: Settings, saved: SavedEvaluations | None = None, workers: Workers = HERE) -> Self:
        """Those of a settings file."""
        budget, tolerances = settings.budget, {t.name: t.tolerance for t in settings.tasks}
        given = budget.confidence, tolerances, settings.graft.seed, settings.graft.share, budget.min_agreement, saved
        return cls(*given, settings.least_agreements, EFFORTS[settings.graft.effort], workers)

    def enough_for(self, task: str) -> float:
        """``enough``, or what is of one task alone."""
        return self.enough_of.get(task, self.enough)


def choose_donor(networks: Sequence[Network], similarity: Similarity) -> Network:
    """The network whose representations the others resemble most; the first in order among equals."""

    def score(donor: Network) -> float:
        return sum(_affinity(donor, target, similarity) for target in networks if target is not donor)

    scores = [score(n) for n in networks]
    best = max(scores)
    return next(n for n, s in zip(networks, scores, strict=True) if s >= best - TIE * len(networks))


def next_donor(
    left: Sequence[Network], similarity: Similarity, share: Mapping[str, str], given: Mapping[str, Candidate]
) -> Network:
    """The next network that others are tried on: a donor of given grafts first."""
    free = [n for n in left if share.get(n.name, UNSHARED) == UNSHARED and n.name not in given] or list(left)
    wanted = {c.join.donor for name, c in given.items() if any(n.name == name for n in left)}
    return choose_donor([n for n in free if n.name in wanted] or free, similarity)


def _affinity(donor: Network, target: Network, similarity: Similarity) -> float:
    if lineage(donor, target).share_weights:
        return 1.0
    best = [max((similarity(d.name, t.name) for d in donor.cut_points), default=0.0) for t in target.cut_points]
    return sum(best) / max(len(best), 1)


def candidates(
    donor: Network,
    target: Network,
    evidence: Evidence,
    similarity: Similarity,
    options: SearchOptions,
    report: Report = silent,
) -> Iterator[Candidate]:
    """Evaluate the grafts of ``target`` onto ``donor``: of small networks all, of large ones towards the budget.

    Raises:
        ConfigurationError: A share override names a layer that is no cut point of the donor, or nothing joins there.
    """
    forced = (options.share or {}).get(target.name)
    joins, groups, depths = _ways(donor, target, evidence, similarity, options)
    if forced is not None and not joins:
        raise ConfigurationError(
            f"task {target.name!r} cannot share up to layer {forced!r} of {donor.name!r}: no representation of it fits",
            "choose another layer",
        )
    tolerance = (options.tolerances or {}).get(target.name)
    if not depths.every and depths.most < min(MEDIUM.halvings, len(groups).bit_length()):
        report(
            f"{target.name} takes {target.macs / 1e9:.1f} G multiply-accumulates: of {len(groups)} cut points the "
            f"search looks at {depths.most}; --effort high looks at more, and --share {target.name}=LAYER tries another"
        )
    progress, stage = SearchProgress.of(report), (donor.name, target.name)
    progress.expect(stage, depths.total(len(joins)))
    numbers, enough = itertools.count(1), options.enough_for(target.name)

    def grafted(chain: Sequence[Join]) -> list[Candidate]:
        found: list[Candidate] = []
        for join in chain:
            if join.relation == "relative" and _keeps(found, enough):
                continue
            report(
                f"graft {target.name} onto {donor.name}: {join.method} ({next(numbers)} of {depths.total(len(joins))})"
            )
            found.append(evaluated(join, donor, target, evidence, options, tolerance))
            progress.done(stage)
        return found

    for batch in depths:
        chains = [(depth, chain) for depth in batch for chain in _chains(groups[depth])]
        done = options.workers.each(grafted, [chain for _, chain in chains])
        for depth in batch:
            found = [graft for (of, _), grafts in zip(chains, done, strict=True) if of == depth for graft in grafts]
            best = max((graft.agreement.value for graft in found if graft.agreement is not None), default=0.0)
            yield from found
            depths.judge(best >= HOPELESS, _keeps(found, enough))
    progress.finish(stage)


def expected_grafts(
    donor: Network, target: Network, evidence: Evidence, similarity: Similarity, options: SearchOptions
) -> int:
    """How many grafts :func:`candidates` will evaluate, about."""
    joins, _, depths = _ways(donor, target, evidence, similarity, options)
    return depths.total(len(joins))


def _ways(
    donor: Network, target: Network, evidence: Evidence, similarity: Similarity, options: SearchOptions
) -> tuple[list[Join], list[list[Join]], _Depths]:
    """All joins, those of one cut point together, and which cut points are tried."""
    forced = (options.share or {}).get(target.name)
    joins = list(joins_of(donor, target, lineage(donor, target), similarity, forced))
    groups = [list(group) for _, group in itertools.groupby(joins, key=lambda j: j.target_point.name)]
    is_every = max(donor.macs, target.macs) <= SMALL_MACS or forced is not None
    halvings = _affordable_halvings(target, evidence, options.effort)
    return joins, groups, _Depths(len(groups), every=is_every, halvings=halvings)


def _chains(group: Sequence[Join]) -> list[list[Join]]:
    """Joins at one cut point: those of relatives one after the other until one is good enough, each other by itself."""
    relatives = [join for join in group if join.relation == "relative"]
    return [*([relatives] if relatives else []), *([join] for join in group if join.relation != "relative")]


def _keeps(grafts: Sequence[Candidate], enough: float) -> bool:
    return max((graft.agreement.lower_bound for graft in grafts if graft.agreement is not None), default=0.0) >= enough


def _affordable_halvings(target: Network, evidence: Evidence, effort: Effort) -> int:
    """How many cut points of a large network can be evaluated, if each costs what a refit at the first one does."""
    cuts = target.cut_points[:1]
    refitted = min([len(evidence.fit), *(refit_frames(target, cut, effort.refit_macs) for cut in cuts)])
    each = (REFIT_RUNS * refitted + len(evidence.accept)) * max(target.macs, 1)
    return max(MIN_HALVINGS, min(effort.halvings, effort.search_macs // max(each, 1)))


class _Depths:
    """Numbers of the cut points to try next, 0 the shallowest; of some at a time it is sure that all have to be tried.

    Args:
        points: How many there are.
        every: All from shallow to deep until two in a row are hopeless; else by halving: agreement falls with depth, so
            a kept budget sends the search deeper and a missed one shallower.
        halvings: How many at most.
    """

    def __init__(self, points: int, every: bool, halvings: int) -> None:
        self._points, self.every = points, every
        self._low, self._high = 0, points
        self.most = self._left = halvings
        self._hopeless = 0

    def __iter__(self) -> Iterator[Sequence[int]]:
        if self.every:
            while self._low < self._points and self._hopeless < MOST_HOPELESS:
                batch = range(self._low, min(self._low + MOST_HOPELESS - self._hopeless, self._points))
                yield batch
                self._low = batch.stop
            return
        while self._low < self._high and self._left:
            self._left -= 1
            yield [self._middle]

    @property
    def _middle(self) -> int:
        return (self._low + self._high) // 2

    def total(self, joins: int) -> int:
        """Grafts that there will be about."""
        return joins if self.every else min(self.most, self._points.bit_length()) * -(-joins // max(self._points, 1))

    def judge(self, is_hopeful: bool, keeps: bool) -> None:
        """What came out at the next of the numbers given last."""
        self._hopeless = 0 if is_hopeful else self._hopeless + 1
        if not self.every:
            self._low, self._high = (self._middle + 1, self._high) if keeps else (self._low, self._middle)


def evaluated(
    join: Join, donor: Network, target: Network, evidence: Evidence, options: SearchOptions, tolerance: float | None
) -> Candidate:
    """A graft evaluated by the workers of ``options``, or as it was saved."""
    # A function of the user's stays where the user has agreed to run it: workers do not have its module.
    is_own = any(isinstance(network.answer, OwnFormat) for network in (donor, target))
    workers = HERE if is_own else options.workers
    how = functools.partial(
        workers.run,
        evaluate,
        {"donor": donor, "target": target, "evidence": evidence},
        join=join,
        confidence=options.confidence,
        tolerance=tolerance,
        seed=options.seed,
        refit_macs=options.effort.refit_macs,
    )
    if options.saved is None:
        return how()
    decisive = min(options.confidence, evidence.most_confidence), tolerance, options.seed, options.effort.refit_macs
    return options.saved.graft(join, (donor, target), (evidence.fit, evidence.accept), decisive, how)


def joins_of(
    donor: Network, target: Network, line: Lineage, similarity: Similarity, forced: str | None
) -> Iterator[Join]:
    """Ways to graft ``target`` onto ``donor``, from shallow to deep; at the donor's layer ``forced`` alone if given."""

    def join(d: CutPoint, t: CutPoint, method: Method, relation: Relation) -> Join:
        alike = None if isinstance(t, Frontier) else similarity(d.name, t.name)
        return Join(donor.name, target.name, d, t, method, relation, alike)

    if not donor.sees_frames_of(target):
        return
    wanted = donor.cut_point(forced) if forced else None
    equal = [p for p in line.equal if wanted is None or p[0] == wanted]
    shared = line.common.matched if line.common and wanted is None else {}
    if line.common and wanted is None:
        ends = line.common.donor_point, line.common.target_point
        yield Join(donor.name, target.name, *ends, "exact", "relative")
    elif equal:
        yield join(*equal[-1], "exact", "relative")
    related = [p for p in line.related if p not in line.equal and (wanted is None or p[0] == wanted)]
    is_small = max(donor.macs, target.macs) <= SMALL_MACS
    frontiers = [p for p in line.frontiers if wanted is None and not shared.keys() >= {*tensors_of(p[1])}]
    if line.are_related:
        for d, t in sorted([*related, *frontiers], key=lambda p: p[1].node_index):
            yield join(d, t, "raw", "relative")
            yield join(d, t, "refit", "relative")
    if line.related or (line.are_related and frontiers) or (equal and wanted):
        return
    behind_equal = equal[-1][1].node_index if equal else -1
    partners = {t.name: d for d, t in frontiers}
    points = [t for t in target.cut_points if t.node_index > behind_equal and t.name not in shared]
    for t in sorted([*points, *(t for _, t in frontiers)], key=lambda t: t.node_index):
        if isinstance(t, Frontier):
            yield join(partners[t.name], t, "refit", "independent")
            continue
        partner = _partner(donor, t, similarity, wanted)
        if partner is None or (wanted and t != _best_target(target, wanted, similarity)):
            continue
        if partner.shape == t.shape:
            yield join(partner, t, "refit", "independent")
            if partner.shape[1:] == () or not is_small:
                continue
            yield join(partner, t, "adapter3", "independent")
        else:
            yield join(partner, t, "adapter1", "independent")
            if is_small and is_joinable(partner.shape, t.shape, 3):
                yield join(partner, t, "adapter3", "independent")


def _partner(donor: Network, target: CutPoint, similarity: Similarity, wanted: CutPoint | None) -> CutPoint | None:
    """The donor's cut point that fits ``target`` best: of equal shape if there is one, then by CKA."""
    fitting = [d for d in donor.cut_points if is_joinable(d.shape, target.shape, 1) and wanted in (None, d)]
    equal = [d for d in fitting if d.shape == target.shape]
    return max(equal or fitting, key=lambda d: similarity(d.name, target.name), default=None)


def _best_target(target: Network, wanted: CutPoint, similarity: Similarity) -> CutPoint | None:
    fitting = [t for t in target.cut_points if is_joinable(wanted.shape, t.shape, 1)]
    equal = [t for t in fitting if t.shape == wanted.shape]
    return max(equal or fitting, key=lambda t: similarity(wanted.name, t.name), default=None)
