"""The main job, in order: networks, frames, similarity, grafting, conversion, fidelity, bundle."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multigraft import files
from multigraft.bundle.bundle import FALLBACK, Bundle
from multigraft.converters import standing as apart
from multigraft.converters.conversion.work_folder import work_folder
from multigraft.converters.exits.building import calibrated, planned_exits
from multigraft.converters.field.collected import Collected
from multigraft.converters.field.refitted_candidates import grafts_of
from multigraft.converters.field.refitted_thinnings import thinned_of, with_refitted_thinnings
from multigraft.converters.first_checks import check_frames, check_refinement
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.evidence import (
    Evidence,
    LoadFrames,
    load_evidence,
    own_frames,
)
from multigraft.converters.graft.explanation import explain, poor_bargain
from multigraft.converters.graft.frameless import plan_without_frames
from multigraft.converters.graft.saved_evaluations import SavedEvaluations
from multigraft.converters.graft.search import SMALL_MACS, SearchOptions
from multigraft.converters.graft.sharing_plan import BYTES_PER_WEIGHT, Limits, PlanningResult, SharingPlan
from multigraft.converters.importing.importer import load_task
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.failed_step import reason_of
from multigraft.converters.job.progress import Remembering, Report, silent
from multigraft.converters.job.search_progress import SearchProgress
from multigraft.converters.job.workers import HERE, Workers
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.offload.choosing import TriedSplits, with_choices, with_chosen_splits
from multigraft.converters.packing import promise
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import with_fidelity
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.proof import proved, shortfall
from multigraft.converters.packing.standing import with_standing
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.quantising.safeguards import Safeguards
from multigraft.converters.settings.settings import Settings
from multigraft.converters.similarity.representations import (
    SimilarityTable,
    by_frames,
    joined,
    measure_similarity,
    union_of,
)
from multigraft.converters.thinning.search import expect_thinning, with_thinning
from multigraft.refit.refit_plan import Refit
from multigraft.runtime.offload.inference_client import InferenceClient

SIMILARITY_FRAMES = 512
LARGE_SIMILARITY_FRAMES = 192
"""Frames on which representations are compared; more sharpen the third digit only."""

CALIBRATION_FRAMES = 256
"""Frames per task that set the int8 ranges."""


@dataclass(frozen=True)
class Grafted:
    """The first half of the job.

    Attributes:
        networks: As imported, in the order of the settings.
        evidence: Task to its unlabeled frames; empty where there were statistics alone.
        similarity: CKA between all cut points.
        outcome: Plans, the Pareto front and the chosen one.
        multitask: The chosen plan as one graph.
        collected: Statistics collected on a device, or None.
        warnings: What was warned of.
    """

    networks: tuple[Network, ...]
    evidence: Mapping[str, Evidence]
    similarity: SimilarityTable
    outcome: PlanningResult
    multitask: MultiTaskModel
    collected: Collected | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """The whole job.

    Attributes:
        grafted: The first half.
        conversion: The bundle and what was verified on the way; ``conversion.bundle`` lacks the fidelity figures.
        bundle: The bundle to write.
        separate: The original networks converted the same way, side by side, for comparison; None unless asked for.
        separate_issue: Why there is no ``separate`` although it was asked for.
        standing: Quantised networks that stand in ``bundle`` and ``separate`` as they are; ``grafted`` lacks them.
        splits: What was found of cut points, a task; empty unless asked for.
        floating: The float graph that the bundle was converted from, for what a server loads; None where nothing was.
    """

    grafted: Grafted
    conversion: Conversion
    bundle: Bundle
    separate: Conversion | None
    separate_issue: str = ""
    standing: tuple[StandingNetwork, ...] = ()
    splits: tuple[TriedSplits, ...] = ()
    floating: MultiTaskModel | None = None


def graft(
    settings: Settings,
    load_frames: LoadFrames,
    report: Report = silent,
    *,
    checkpoints: Checkpoints | None = None,
    workers: Workers = HERE,
) -> Grafted:
    """Import the networks, compare them, and graft them as the budget allows.

    With statistics, similarity comes from them; without frames, only what needs no refit is shared.
    What ``checkpoints`` hold of an interrupted run is not done again. Grafts are evaluated by ``workers``.

    Raises:
        MultigraftError: Anything in the settings, models or frames that is not as it has to be.
    """
    report = SearchProgress(remembering := Remembering(report))
    expect_thinning(report, settings)
    refit = None if settings.refit is None else Refit.open(settings.refit)
    check_refinement(settings, refit)
    collected = Collected.open(settings.statistics) if settings.statistics else None
    networks = import_networks(settings, report)
    evidence = load_evidence(settings, load_frames, networks, report)
    check_frames(settings, networks, evidence, report)
    saved = SavedEvaluations(checkpoints) if checkpoints else None
    similarity = _similarity(settings, networks, evidence, collected, saved, report)
    options = SearchOptions.of(settings, saved, workers)
    refitted = grafts_of(refit, networks, evidence, options) if refit else {}
    outcome = _plan(settings, networks, evidence, collected, similarity, options, refitted, report)
    if refit is not None and (thinned := thinned_of(refit, networks, evidence, options)):
        outcome = with_refitted_thinnings(outcome, networks, thinned, settings.graft.thin)
    elif not settings.graft.thin.is_none:
        outcome = with_thinning(outcome, networks, evidence, settings.graft.thin, options, report)
    report.end()
    plan = proved(outcome.chosen, networks, evidence, SearchOptions.of(settings))
    bargain = poor_bargain(plan, outcome.front, outcome.limits, not settings.graft.thin.is_none)
    message = outcome.message + shortfall(plan, outcome.limits) + bargain
    outcome = dataclasses.replace(outcome, message=message, promised=plan)
    report(outcome.message)
    multitask = assemble(networks, plan, _provenance(settings, evidence, collected, outcome))
    return Grafted(networks, evidence, similarity, outcome, multitask, collected, tuple(remembering.warnings))


def build(
    settings: Settings,
    load_frames: LoadFrames,
    report: Report = silent,
    *,
    separate: bool = False,
    checkpoints: Checkpoints | None = None,
    server: InferenceClient | None = None,
    workers: Workers = HERE,
) -> Built:
    """Graft, convert and verify.

    Args:
        settings: As read from multigraft.toml.
        load_frames: Opens a frame source.
        report: Takes a line for each step.
        separate: Also convert them apart, as :func:`with_separate`.
        checkpoints: Where finished steps are kept, so that an interrupted build can go on; None keeps none.
        server: Where the rests behind cut points are timed; None for this machine.
        workers: Where grafts are evaluated; the bundle is the same.

    Raises:
        MultigraftError: As :func:`graft`, or the conversion failed verification.
    """
    load_frames = functools.cache(load_frames)
    shared = apart.without_standing(settings, standing := apart.standing_networks(settings, report))
    built = (
        _built(shared, load_frames, report, checkpoints, server, workers) if shared.tasks else _only_standing(settings)
    )
    converted = built.conversion
    if standing:
        report("put the quantised networks beside the others, as they are")
        built = _beside(settings, built, standing, load_frames)
    whole = apart.with_fallback(settings, built.bundle, converted, standing, built.grafted.evidence)
    if whole.manifest.fallback is not None and converted.fallback is None:
        report(f"note: networks with bits bring a fallback of {whole.manifest.files[FALLBACK].size:,} bytes along")
    built = dataclasses.replace(built, bundle=whole)
    return with_separate(settings, built, report, checkpoints=checkpoints) if separate else built


def _built(
    settings: Settings,
    load_frames: LoadFrames,
    report: Report,
    checkpoints: Checkpoints | None,
    server: InferenceClient | None,
    workers: Workers,
) -> Built:
    """The networks that can be grafted."""
    grafted = graft(settings, load_frames, report, checkpoints=checkpoints, workers=workers)
    sqnr_db, tolerances = settings.convert.min_layer_sqnr_db, {t.name: t.tolerance for t in settings.tasks}
    asked = Safeguards(sqnr_db, tolerances=tolerances, spared_bytes=grafted.outcome.spared_bytes)

    def converted(graph: MultiTaskModel) -> Conversion:
        return _convert(graph, grafted, settings, report, checkpoints, asked)

    split, splits = with_chosen_splits(
        settings, grafted.multitask, grafted.networks, grafted.evidence, converted, server, report
    )
    early = planned_exits(settings, split, grafted.evidence, report)
    conversion = converted(early.multitask)
    if promise.may_rescue(settings) and grafted.evidence:
        report("compare the bundle with the original networks")
        chosen = promise.measured(settings, conversion.bundle, grafted.networks, grafted.evidence)
        # What lacks agreement before anything is quantised gains none by layers that stay float.
        spoilt = {m.task for m in grafted.outcome.limits.missed(grafted.outcome.chosen)}
        figures = {task: shown for task, shown in chosen.items() if task not in spoilt}
        if lacking := promise.lacking(settings, figures):
            measured = {task: float(chosen[task]["bundle_agreement"]["value"]) for task in lacking}
            fits = own_frames(grafted.networks, grafted.multitask.tasks, grafted.evidence)
            more = dataclasses.replace(asked, lacking=lacking, measured=measured, frames=fits)
            conversion = _convert(early.multitask, grafted, settings, report, checkpoints, more, conversion)
    conversion = promise.with_few_bits(settings, conversion, grafted.networks, grafted.evidence, report)
    conversion = calibrated(settings, early, conversion, grafted.evidence, report)
    report("compare the bundle with the original networks on frames that no choice has looked at")
    kept = {n.name for n in grafted.networks} - set(grafted.outcome.chosen.agreements)
    proofs = promise.proofs(grafted.evidence)
    fidelity = promise.measured(settings, conversion.bundle, grafted.networks, proofs, kept, conversion.fallback)
    bundle = with_choices(with_fidelity(conversion.bundle, fidelity), splits)
    return Built(grafted, conversion, bundle, None, splits=splits, floating=early.multitask)


def _only_standing(settings: Settings) -> Built:
    """What is built of no network, for quantised ones to stand in."""
    grafted = Grafted((), {}, SimilarityTable.empty((), 0), *apart.nothing_planned())
    conversion = apart.nothing_converted(settings.bundle.name)
    return Built(grafted, conversion, conversion.bundle, None)


def _beside(settings: Settings, built: Built, standing: tuple[StandingNetwork, ...], load_frames: LoadFrames) -> Built:
    """``built`` with the networks that stand as they are."""
    evidence = load_evidence(settings, load_frames)
    bundle = apart.put_beside(settings, built.bundle, standing, evidence)
    conversion = built.conversion if built.grafted.networks else apart.only_standing(built.conversion, bundle)
    grafted = dataclasses.replace(built.grafted, evidence=evidence)
    return dataclasses.replace(built, grafted=grafted, conversion=conversion, bundle=bundle, standing=standing)


def with_separate(
    settings: Settings, built: Built, report: Report = silent, *, checkpoints: Checkpoints | None = None
) -> Built:
    """``built`` with its networks converted apart, too, for comparison.

    Where that fails, whatever the reason, the bundle is good all the same: ``separate_issue`` says why.
    """
    if not built.grafted.networks:
        return dataclasses.replace(built, separate=built.conversion)
    report("convert the networks apart, for comparison")
    try:
        unshared = assemble(built.grafted.networks, SharingPlan({}, 0, 0))
        alone = _convert(unshared, built.grafted, settings, report, checkpoints)
        whole = with_standing(alone.bundle, built.standing, [t.name for t in settings.tasks], {})
    except Exception as error:
        return dataclasses.replace(built, separate_issue=reason_of(error))
    return dataclasses.replace(built, separate=dataclasses.replace(alone, bundle=whole))


def import_networks(settings: Settings, report: Report = silent) -> tuple[Network, ...]:
    """The networks of all tasks, in the order of the settings.

    Raises:
        MultigraftError: A model is not as it has to be.
    """
    networks = []
    for task in settings.tasks:
        report(f"import {task.name}")
        networks.append(load_task(task, settings.path.parent, report, trusts_code=settings.trusts_code))
    return tuple(networks)


def _similarity(
    settings: Settings,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    collected: Collected | None,
    saved: SavedEvaluations | None,
    report: Report,
) -> SimilarityTable:
    if collected is not None:
        for sentence in collected.advice():
            report(sentence)
        return collected.similarity(networks)
    is_small = max(n.macs for n in networks) <= SMALL_MACS
    compared = SIMILARITY_FRAMES if is_small else LARGE_SIMILARITY_FRAMES
    seed = settings.graft.seed
    tables = []
    for group in by_frames(networks):
        frames = union_of({n.name: evidence[n.name].fit for n in group if n.name in evidence}, compared)
        measure = functools.partial(measure_similarity, group, frames, seed=seed, report=report)
        tables.append(saved.similarity(group, frames, seed, measure) if saved else measure())
    return joined(tables, networks)


def _plan(
    settings: Settings,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    collected: Collected | None,
    similarity: SimilarityTable,
    options: SearchOptions,
    refitted: Mapping[str, Candidate],
    report: Report,
) -> PlanningResult:
    budget = settings.budget
    limits = Limits(
        budget.min_agreement,
        budget.max_weights_bytes,
        budget.max_macs,
        BYTES_PER_WEIGHT[settings.convert.precision],
        budget.prefer,
        settings.least_agreements,
    )
    if not evidence:
        named = ", ".join(map(str, settings.statistics))
        report(f"no frames: {named} gives similarity and ranges; refit and acceptance need frames")
        moments = None if collected is None else collected.by_network
        return plan_without_frames(networks, similarity, limits, settings.graft.share, refitted, moments)
    outcome = plan_sharing(networks, evidence, similarity, limits, options, report, refitted)
    if settings.graft.refine != "distill" or not outcome.chosen.grafts:
        return outcome
    from multigraft.converters.distill.distill import distill_plan

    chosen = distill_plan(outcome.chosen, networks, evidence, options, report)
    message = f"{explain(chosen, outcome.front, outcome.evaluated, limits)}; refined by distillation"
    return dataclasses.replace(outcome, chosen=chosen, front=(*outcome.front, chosen), message=message)


def _provenance(
    settings: Settings, evidence: Mapping[str, Evidence], collected: Collected | None, outcome: PlanningResult
) -> dict[str, Any]:
    provenance: dict[str, Any] = {
        "plan": outcome.message,
        "frames": {n: len(e.fit) + len(e.accept) + len(e.prove) for n, e in evidence.items()},
    }
    if collected is not None:
        provenance["statistics"] = collected.provenance()
    if settings.refit is not None:
        provenance["refit"] = {"sha256": files.sha256_of(settings.refit.read_bytes())}
    return provenance


def _convert(
    multitask: MultiTaskModel,
    grafted: Grafted,
    settings: Settings,
    report: Report,
    checkpoints: Checkpoints | None,
    safeguards: Safeguards | None = None,
    before: Conversion | None = None,
) -> Conversion:
    by_input: dict[str, Frames] = {}
    for network in grafted.networks:
        if network.input in multitask.inputs and grafted.evidence:
            served = [t.name for t in multitask.tasks if network.name in (t.name, t.donor)]
            by_input[network.input] = union_of({n: grafted.evidence[n].fit[:CALIBRATION_FRAMES] for n in served})
    ranges: Mapping[str, Range] | None = None
    if grafted.collected is not None and (grafted.collected.has_ranges or not by_input):
        ranges = grafted.collected.ranges(grafted.networks)
    try:
        with work_folder() as folder:
            return convert(
                multitask,
                by_input,
                precision=settings.convert.precision,
                keep_float=settings.convert.keep_float,
                ranges=ranges,
                name=settings.bundle.name,
                work_dir=folder,
                report=report,
                checkpoints=checkpoints,
                safeguards=safeguards or Safeguards(settings.convert.min_layer_sqnr_db),
                before=before,
            )
    except MissingRangesError as error:
        if grafted.collected is None:
            raise
        raise grafted.collected.more_ranges_needed(error) from error
