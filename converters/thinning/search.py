"""Which plan is thinned how far: every way to share that may pay, narrowed as far as its answers allow.

Each tree of a plan (a donor with the tails on its trunk, or a network alone) is thinned as a whole, as far as each of
its tasks can bear by itself. Where its trunk is to keep its channels, the own parts of tasks on it go one by one. How
far that is, is looked for on the frames that choose; what comes out is proved on frames that no choice has looked at,
as any other plan is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from multigraft.agreement.agreement import Agreement
from multigraft.converters.graft.candidate import Candidate, agreement_of, whole_agreement
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.plan_latency import PlanLatency
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult, SharingPlan
from multigraft.converters.job.effort import EFFORTS
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedLayer, ThinnedNetwork, ThinnedTail
from multigraft.converters.planning.grown import grown
from multigraft.converters.planning.planner import BestSoFar, cost_of_plans, pareto, pick, timed
from multigraft.converters.settings.settings import Settings
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.converters.similarity.representations import union_of
from multigraft.converters.thinning.allot import allot
from multigraft.converters.thinning.explain_thinning import explain_thinning
from multigraft.converters.thinning.narrowest import Losses, narrowest
from multigraft.converters.thinning.saved_thinning import SavedThinning
from multigraft.converters.thinning.tree import ThinnedTree, Tree


class ThinningSearch:
    """Thins the trees of plans, each once.

    Attributes:
        best: Sees every plan that is made.
        nearest: Of these, the one that has most to spare or misses the agreement budget least; None before any.

    Args:
        networks: All, as they came.
        evidence: Task to its frames.
        shares: How far each may be thinned.
        options: Confidence, tolerances and seed.
        limits: The budget.
        report: Takes a line for each step.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        evidence: Mapping[str, Evidence],
        shares: ThinShares,
        options: SearchOptions,
        limits: Limits,
        report: Report = silent,
    ) -> None:
        self._networks = {n.name: n for n in networks}
        self._evidence, self._shares, self._options = evidence, shares, options
        self._limits, self._report = limits, SearchProgress.of(report)
        self._steps = SavedThinning(options.saved, options.seed, report, options.effort)
        self.best = BestSoFar(SharingPlan.apart(networks), limits, self._report)
        self.nearest: SharingPlan | None = None
        self._done: dict[tuple[object, ...], tuple[Tree, ThinnedTree | None]] = {}

    def thinned(self, plan: SharingPlan) -> SharingPlan:
        """``plan`` with every tree as narrow as was asked for, or as its answers allow.

        A tree goes as a whole. Where a task of it keeps its channels, so does all that it stands on, and the own parts
        of the others go one by one.
        """
        for root in self._networks.values():
            if root.name in plan.grafts:
                continue
            tree = self._tree_of(root, plan)
            kept = self._kept(tree)
            if not kept:
                if (made := self._found(tree, plan)) is not None:
                    plan = plan.with_thinned(root.name, made.root, made.grafts)
                continue
            for task in tree.grafts:
                tree = self._tree_of(root, plan)
                if task not in kept and (made := self._found(tree, plan, task)) is not None:
                    plan = plan.with_tails(made.grafts)
        return plan

    def _tree_of(self, root: Network, plan: SharingPlan) -> Tree:
        return Tree(root, {g.join.target: g for g in plan.grafts_on(root.name)}, self._networks)

    def _kept(self, tree: Tree) -> set[str]:
        """The tasks whose networks or own parts keep their channels, if only since another stands on them."""
        kept = set[str]()
        for task in tree.tasks:
            if self._shares.of(task) == "none":
                kept.add(task)
                while task in tree.grafts:
                    task = tree.grafts[task].join.donor
                    kept.add(task)
        return kept

    def _found(self, tree: Tree, plan: SharingPlan, part: str | None = None) -> ThinnedTree | None:
        key = (part or tree.root.name, *sorted((name, id(g)) for name, g in tree.grafts.items()))
        if key not in self._done:
            self._report.expect(key, self._options.effort.rounds + 1)
            # The tree is kept with its result, so that no other graft can get the id of one of its own.
            self._done[key] = tree, self._searched(tree, plan, key, part)
            self._report.finish(key)
        return self._done[key][1]

    def _searched(
        self, tree: Tree, plan: SharingPlan, stage: tuple[object, ...], part: str | None
    ) -> ThinnedTree | None:
        """A tree thinned as a whole, or the own part of one task alone."""
        asked = self._shares.of(part or tree.root.name)
        joined = tree.joined()
        frames = union_of({task: self._evidence[task].fit for task in tree.tasks})
        label = part or " and ".join(tree.tasks)
        self._report(f"look at channels of {label}")
        outputs = [len(self._networks[task].outputs) for task in tree.tasks]
        found = self._steps.survey(joined, frames, outputs, tree.nodes_of(part) if part else None)
        self._report.done(stage)
        macs, losses = self._limits.macs_in_cost, self._losses(tree, part)

        def is_taken(judged: ThinnedTree) -> bool:
            # What leaves int8 nothing of the budget is no point that a build could end at.
            return asked != "auto" or all(task.keeps(judged.bounds[task.task]) for task in losses)

        def made(widths: Sequence[int], how_far: str) -> ThinnedTree | None:
            self._report(f"thin {label} {how_far}")
            thinned = self._steps.thinned(found, widths, frames)
            if not thinned.layers:
                return None
            network, grafts = tree.parted(thinned.network)
            if part is None:
                judged = self._judged(
                    tree, ThinnedNetwork(network, None, thinned.layers, tree.root.weights, tree.root.macs), grafts
                )
                narrower = plan.with_thinned(tree.root.name, judged.root, judged.grafts)
            else:
                judged = self._judged_tail(tree, part, grafts, thinned.layers)
                narrower = plan.with_tails(judged.grafts)
            self._see(narrower, is_taken(judged))
            self._report.done(stage)
            return judged

        if asked == "auto":
            return narrowest(found, losses, made, macs, self._options.effort.rounds)
        assert not isinstance(asked, str), "what keeps its channels is not looked at"
        return made(allot(found, self._share(tree, part, joined, asked), macs), f"to {100 * asked:g} %")

    def _share(self, tree: Tree, part: str | None, joined: Network, asked: float) -> float:
        """What may be left of a whole tree where so much may be left of it, or of one task's own part."""
        if part is None:
            return asked
        graft = tree.grafts[part]
        own = graft.own_macs / max(joined.macs, 1) if self._limits.macs_in_cost else graft.own_weights / joined.weights
        return 1 - own * (1 - asked)

    def _see(self, plan: SharingPlan, is_taken: bool) -> None:
        # Where shares are given as numbers, no plan is taken before every network has its own.
        if is_taken and not self._shares.asks_for_numbers:
            self.best.see(plan)
        spare = self._limits.spare
        if self.nearest is None or spare(plan) > spare(self.nearest):
            self.nearest = plan

    def _losses(self, tree: Tree, part: str | None) -> list[Losses]:
        """What each task of ``tree`` may lose, and what it shows before anything is thinned."""
        changing = tree.on(part) if part else set(tree.tasks)
        found = []
        for task in tree.tasks:
            if task not in changing:
                # Its answers stay what they are, whatever they show.
                found.append(Losses(task, np.inf, 0.0))
                continue
            shown = tree.grafts[task].agreement if task in tree.grafts else self._whole(tree.root, task)
            found.append(Losses(task, 1 - self._limits.least(task), 1 - (shown.lower_bound if shown else 0.0)))
        return found

    def _whole(self, network: Network, task: str) -> Agreement:
        """Agreement of what stands for a task's network with it."""
        tolerance = (self._options.tolerances or {}).get(task)
        original, evidence = self._networks[task], self._evidence[task]
        return whole_agreement(network, original, evidence, self._options.confidence, tolerance)

    def _judged(self, tree: Tree, root: ThinnedNetwork, grafts: Mapping[str, Candidate]) -> ThinnedTree:
        standing = SharingPlan(grafts, 0, 0, thinned={tree.root.name: root})
        own = self._whole(root.network, tree.root.name)
        return ThinnedTree(dataclasses.replace(root, agreement=own), self._shown(grafts, standing))

    def _judged_tail(
        self, tree: Tree, part: str, grafts: Mapping[str, Candidate], layers: tuple[ThinnedLayer, ...]
    ) -> ThinnedTree:
        """The tree where one task's own part has fewer channels: the root is as it came, and so are other parts."""
        before, changed = tree.grafts[part], tree.on(part)
        lost = ThinnedTail(layers, before.own_weights, before.own_macs)
        after = {
            task: dataclasses.replace(
                grafts[task], on_branch=graft.on_branch, thinned=lost if task == part else graft.thinned
            )
            for task, graft in tree.grafts.items()
            if task in changed
        }
        standing = SharingPlan({**tree.grafts, **after}, 0, 0)
        root = ThinnedNetwork(tree.root, None, (), tree.root.weights, tree.root.macs)
        return ThinnedTree(root, {**tree.grafts, **self._shown(after, standing)})

    def _shown(self, grafts: Mapping[str, Candidate], standing: SharingPlan) -> dict[str, Candidate]:
        """Grafts with the agreement that they show in a plan."""
        found = {}
        for task, graft in grafts.items():
            tolerance = (self._options.tolerances or {}).get(task)
            donor = grown(self._networks[graft.join.donor], standing, self._networks)
            judged = donor, self._networks[task], self._evidence[task], self._options.confidence, tolerance
            found[task] = dataclasses.replace(graft, agreement=agreement_of(graft.join, graft.tail, *judged))
        return found


def expect_thinning(progress: SearchProgress, settings: Settings) -> None:
    """What thinning each task alone will take, told before anything is searched."""
    for task in settings.tasks:
        if settings.graft.thin.of(task.name) != "none":
            progress.expect((task.name,), EFFORTS[settings.graft.effort].rounds + 1)


def with_thinning(
    outcome: PlanningResult,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    shares: ThinShares,
    options: SearchOptions,
    report: Report = silent,
) -> PlanningResult:
    """The plan that the budget picks where networks may be thinned, too, and the front with all that was tried.

    Args:
        outcome: Of the search that shares and thins nothing.
        networks: All, as they came.
        evidence: Task to its frames.
        shares: How far each may be thinned.
        options: As for the search.
        report: Takes a line for each step.
    """
    limits = outcome.limits
    search = ThinningSearch(networks, evidence, shares, options, limits, report)
    forced = shares.asks_for_numbers
    if forced:
        # What shares and thins nothing cannot be chosen any more.
        SearchProgress.of(report).best("")
    else:
        search.best.see(outcome.chosen)
    latency = PlanLatency(networks)
    # What [graft] share asks for stands: only how wide it is may change.
    starts = [outcome.chosen] if options.share else bases(outcome, networks, limits)
    named = {task for task, share in shares.tasks.items() if not isinstance(share, str)}
    stuck, tried = set(named), list[SharingPlan]()
    for start in starts:
        plan = timed(search.thinned(start), latency)
        stuck -= plan.narrowed
        if plan.narrowed and named <= plan.narrowed:
            tried.append(plan)
            if forced:
                search.best.see(plan)
    cost = cost_of_plans(limits, latency)
    chosen = pick(tried if forced else [outcome.chosen, *tried], limits, cost, forced) or outcome.chosen
    front = pareto([*outcome.front, *tried], limits)
    if chosen not in front:
        front = [*front, chosen]
    front.sort(key=lambda plan: (-plan.weights, -plan.macs))
    message = explain_thinning(chosen, outcome, tried, shares, stuck, search.nearest)
    return dataclasses.replace(outcome, chosen=chosen, front=tuple(front), message=message)


def bases(outcome: PlanningResult, networks: Sequence[Network], limits: Limits) -> list[SharingPlan]:
    """Ways to share that are worth thinning: the chosen one, its relatives alone, both a little shallower, and none."""
    nothing = SharingPlan.apart(networks)
    every = {g.join.target: g for g in outcome.chosen.in_order()}
    relatives: dict[str, Candidate] = {}
    for name, graft in every.items():
        if graft.join.relation == "relative" and (graft.join.donor not in every or graft.join.donor in relatives):
            relatives[name] = graft
    found: list[SharingPlan] = [nothing]
    for grafts in (every, relatives):
        for these in (grafts, {name: _roomier(g, outcome, limits) for name, g in grafts.items()}):
            plan = nothing
            for name, graft in these.items():
                plan = plan.with_graft(next(n for n in networks if n.name == name), graft)
            if all(plan.grafts != other.grafts for other in found):
                found.append(plan)
    return found


def _roomier(graft: Candidate, outcome: PlanningResult, limits: Limits) -> Candidate:
    """The smallest graft of the same task that leaves half of the room below full agreement to thinning.

    What stands on another task's branch, or bears one, stays: it fits no other graft.
    """
    every = outcome.chosen.grafts
    if graft.join.donor in every or any(g.join.donor == graft.join.target for g in every.values()):
        return graft
    pair = graft.join.target, graft.join.donor
    same = [c for c in outcome.evaluated if (c.join.target, c.join.donor) == pair and not c.on_branch]
    best = max((c.shown.lower_bound for c in same if c.agreement), default=0.0)
    wanted = (limits.least(graft.join.target) + best) / 2
    roomy = [c for c in same if c.agreement and c.shown.lower_bound >= wanted]
    return min(roomy, key=lambda c: c.own_weights, default=graft)
