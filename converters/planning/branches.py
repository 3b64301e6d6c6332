"""Sharing with a task that is grafted itself: relatives go on together where the donor's trunk ends for both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from multigraft.converters.graft.candidate import Candidate, judge
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import Lineage, lineage
from multigraft.converters.graft.search import SearchOptions, Similarity, candidates, evaluated, expected_grafts
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import tail_behind
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.network.network import CutPoint, Network
from multigraft.converters.planning.families import are_relatives
from multigraft.converters.planning.grown import grown

BranchOf = Callable[[str], Network]
"""What stands for a grafted task's network in a plan."""

CLOSER = 0.02
"""By so much more have the weights of two networks to be alike, as cosine, for one to be the closer relative."""


class Branches:
    """Grafts onto the branches of a plan.

    Args:
        networks: All, as they came.
        evidence: Task to its frames.
        similarity: Unbiased CKA of two cut points by name.
        options: As for any other graft.
        progress: Takes a line for each graft.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        evidence: Mapping[str, Evidence],
        similarity: Similarity,
        options: SearchOptions,
        progress: SearchProgress,
    ) -> None:
        self._networks = {n.name: n for n in networks}
        self._evidence, self._similarity = evidence, similarity
        self._options, self._progress = options, progress
        self._stood: dict[tuple[str, ...], tuple[SharingPlan, list[Candidate]]] = {}

    def plans(self, plan: SharingPlan) -> Iterator[SharingPlan]:
        """The plan with one task on another's branch, for every such pair of relatives that may share more there."""
        bearing = {g.join.donor for g in plan.grafts.values()}
        pairs = [
            (bearer, target)
            for target in self._networks.values()
            if target.name not in bearing and target.name not in (self._options.share or {})
            for bearer in map(self._networks.__getitem__, plan.grafts)
            if bearer is not target and self._may_share_more(plan, bearer, target)
        ]
        # A copy of its weights each, which is compared with every target: made once, and only for this plan.
        branch_of = functools.cache(lambda name: grown(self._networks[name], plan, self._networks))
        for bearer, target in pairs:
            if self._chain(plan, bearer, target) not in self._stood:
                self._progress.expect((bearer.name, target.name), self._expected(plan, bearer, target, branch_of))
        for bearer, target in pairs:
            for graft in self._grafts(plan, bearer, target, branch_of):
                yield self.with_graft(plan, graft)

    def with_graft(self, plan: SharingPlan, graft: Candidate) -> SharingPlan:
        """The plan with a graft in the place of what its task has; nothing may stand on that."""
        made = SharingPlan.apart(tuple(self._networks.values()))
        for other in plan.in_order():
            if other.join.target != graft.join.target:
                made = made.with_graft(self._networks[other.join.target], other)
        return made.with_graft(self._networks[graft.join.target], graft)

    def _may_share_more(self, plan: SharingPlan, bearer: Network, target: Network) -> bool:
        if not are_relatives(bearer, target):
            return False
        line, now = lineage(bearer, target), plan.grafts.get(target.name)
        if now is None:
            return True
        if now.join.donor == bearer.name:
            return False
        shared = max(
            line.common.target_point.weights if line.common else 0, *(t.weights for _, t in line.equal[-1:]), 0
        )
        if shared > target.weights - now.own_weights:
            return True
        donor = self._networks[now.join.donor]
        return bool(line.related) and line.cosine > lineage(donor, target).cosine + CLOSER

    def _chain(self, plan: SharingPlan, bearer: Network, target: Network) -> tuple[str, ...]:
        """What tells a search on a branch from others: the target, and all that it would stand on."""
        chain, name = [target.name], bearer.name
        while name in plan.grafts:
            chain += [name, str(id(plan.grafts[name]))]
            name = plan.grafts[name].join.donor
        return tuple(chain)

    def _grafts(self, plan: SharingPlan, bearer: Network, target: Network, branch_of: BranchOf) -> list[Candidate]:
        key = self._chain(plan, bearer, target)
        if key not in self._stood:
            # The plan is kept with its grafts, so that no other graft can get the id of one of its own.
            found = [
                dataclasses.replace(graft, on_branch=True) for graft in self._found(plan, bearer, target, branch_of)
            ]
            self._stood[key] = plan, found
        return self._stood[key][1]

    def _expected(self, plan: SharingPlan, bearer: Network, target: Network, branch_of: BranchOf) -> int:
        """How many grafts a search on a branch will evaluate, about."""
        if plan.grafts[bearer.name].join.method != "exact":
            return len(self._joins(plan, bearer, target))
        branch, evidence = branch_of(bearer.name), self._evidence[target.name]
        if not are_relatives(branch, target):
            return 0
        return expected_grafts(branch, target, evidence, self._similarity, self._options)

    def _found(self, plan: SharingPlan, bearer: Network, target: Network, branch_of: BranchOf) -> Iterator[Candidate]:
        branch, evidence = branch_of(bearer.name), self._evidence[target.name]
        if plan.grafts[bearer.name].join.method == "exact":
            if are_relatives(branch, target):
                yield from candidates(branch, target, evidence, self._similarity, self._options, self._progress)
            return
        tolerance, line = (self._options.tolerances or {}).get(target.name), lineage(bearer, target)
        stage = bearer.name, target.name
        for join in self._joins(plan, bearer, target):
            self._progress(f"graft {target.name} onto the branch of {bearer.name}: {join.method}")
            if line.common is not None and join.donor_point == line.common.donor_point:
                tail = tail_behind(line.common, target)
                graft = judge(join, tail, branch, target, evidence, self._options.confidence, tolerance)
            else:
                graft = evaluated(join, branch, target, evidence, self._options, tolerance)
            self._progress.done(stage)
            yield graft
        self._progress.finish(stage)

    def _joins(self, plan: SharingPlan, bearer: Network, target: Network) -> list[Join]:
        """Where a target may stand on a branch that was refitted."""
        written = {o for node in plan.grafts[bearer.name].tail.nodes for o in node.output}
        line, found = lineage(bearer, target), list[Join]()
        if line.common is not None and written.issuperset(line.common.sources):
            ends = line.common.donor_point, line.common.target_point
            found.append(Join(bearer.name, target.name, *ends, "raw", "relative"))
        for at, cut in _last(line, written):
            alike = self._similarity(at.name, cut.name)
            found += [Join(bearer.name, target.name, at, cut, method, "relative", alike) for method in _METHODS]
        return found


_METHODS: tuple[Method, ...] = ("raw", "refit")


def _last(line: Lineage, written: set[str]) -> list[tuple[CutPoint, CutPoint]]:
    """The deepest pairs that a branch has, of equal weights and of weights that are close."""
    equal = [pair for pair in line.equal if pair[0].name in written]
    related = [pair for pair in line.related if pair[0].name in written and pair not in equal]
    return [*equal[-1:], *related[-1:]]
