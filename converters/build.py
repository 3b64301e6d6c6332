"""The main job, in order: networks, frames, similarity, grafting, conversion, fidelity, bundle."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.agreement.agreement import agreement
from multigraft.bundle.bundle import Bundle
from multigraft.converters.conversion.work_folder import work_folder
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.refitted_candidates import grafts_of
from multigraft.converters.field.statistics_input import Field, field_ranges, field_similarity
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import Evidence, Join
from multigraft.converters.graft.frameless import plan_without_frames
from multigraft.converters.graft.plan import BYTES_PER_WEIGHT, Limits, Outcome, Plan, explain, plan
from multigraft.converters.graft.propose import MIN_CKA, propose
from multigraft.converters.graft.saved_evaluations import FinishedGrafts
from multigraft.converters.graft.search import SMALL_MACS, SearchOptions
from multigraft.converters.importing.importer import load_task
from multigraft.converters.job.checkpoints import Steps
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import Conversion, convert
from multigraft.converters.packing.fidelity import BundleRunner, bundle_agreement, with_fidelity
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.settings.settings import Settings, TaskSettings
from multigraft.converters.similarity.representations import SimilarityTable, measure_similarity, union_of
from multigraft.errors import ConfigurationError, InputError, UsageError
from multigraft.refit.refit_plan import Refit

SIMILARITY_FRAMES = 512
LARGE_SIMILARITY_FRAMES = 192
"""Frames on which representations are compared; more sharpen the third digit only."""

MAX_ACCEPT_FRAMES = 4096
CALIBRATION_FRAMES = 256
"""Frames per task that set the int8 ranges."""

LoadFrames = Callable[[Path], Frames]
"""Reads a folder, video or array file; :func:`multigraft.devices.cameras.sources.open_source` behind it."""


@dataclass(frozen=True)
class Grafted:
    """The first half of the job.

    Attributes:
        networks: As imported, in the order of the settings.
        evidence: Task to its unlabeled frames; empty where there were statistics alone.
        similarity: CKA between all cut points.
        outcome: Plans, the Pareto front and the chosen one.
        multitask: The chosen plan as one graph.
        field: Statistics collected on a device, or None.
    """

    networks: tuple[Network, ...]
    evidence: Mapping[str, Evidence]
    similarity: SimilarityTable
    outcome: Outcome
    multitask: MultiTaskModel
    field: Field | None = None


@dataclass(frozen=True)
class Built:
    """The whole job.

    Attributes:
        grafted: The first half.
        conversion: The bundle and what was verified on the way; ``conversion.bundle`` lacks the fidelity figures.
        bundle: The bundle to write.
        separate: The original networks converted the same way, side by side, for comparison; None unless asked for.
    """

    grafted: Grafted
    conversion: Conversion
    bundle: Bundle
    separate: Conversion | None


def graft(
    settings: Settings, load_frames: LoadFrames, report: Report = silent, *, steps: Steps | None = None
) -> Grafted:
    """Import the networks, compare them, and graft them as the budget allows.

    With statistics, similarity comes from them; without frames, only what needs no refit is shared.
    What ``steps`` holds of an interrupted run is not done again.

    Raises:
        MultigraftError: Anything in the settings, models or frames that is not as it has to be.
    """
    if settings.graft.refine == "distill":
        from multigraft.converters.distill.torch_tail import import_torch

        if not any(settings.frames_of(task) for task in settings.tasks):
            raise ConfigurationError(f'{settings.path}: refine = "distill" needs frames', "name unlabeled frames")
        import_torch()
    field = None if settings.statistics is None else Field.open(settings.statistics)
    networks = tuple(_load(task, settings, report) for task in settings.tasks)
    evidence = _evidence(settings, load_frames)
    if evidence:
        _check_frames(networks, evidence)

    def progress(what: str, done: int, total: int) -> None:
        report(f"{what} ({done + 1} of {total})")

    finished = FinishedGrafts(steps) if steps else None
    if field is not None:
        similarity = field_similarity(field.statistics, networks)
    else:
        is_small = max(n.macs for n in networks) <= SMALL_MACS
        compared = SIMILARITY_FRAMES if is_small else LARGE_SIMILARITY_FRAMES
        frames = union_of({name: e.fit for name, e in evidence.items()}, compared)
        seed = settings.graft.seed
        measure = functools.partial(measure_similarity, networks, frames, seed=seed, progress=progress)
        similarity = finished.similarity(networks, frames, seed, measure) if finished else measure()
    budget = settings.budget
    limits = Limits(
        budget.min_agreement, budget.max_weights_bytes, budget.max_macs, BYTES_PER_WEIGHT[settings.convert.precision]
    )
    options = SearchOptions(
        budget.confidence,
        {t.name: t.tolerance for t in settings.tasks},
        settings.graft.seed,
        settings.graft.share,
        budget.min_agreement,
        finished,
    )
    given = {}
    if settings.refit is not None:
        given = grafts_of(Refit.open(settings.refit), networks, evidence, options)
    if evidence:
        outcome = plan(networks, evidence, similarity, limits, options, progress, given)
    else:
        report(f"no frames: {settings.statistics} gives similarity and ranges; refit and acceptance need frames")
        moments = None if field is None else field.statistics
        outcome = plan_without_frames(networks, similarity, limits, settings.graft.share, given, moments)
    chosen = outcome.chosen
    if settings.graft.refine == "distill" and chosen.grafts:
        from multigraft.converters.distill.distill import distill_plan

        chosen = distill_plan(chosen, networks, evidence, options, report)
        message = f"{explain(chosen, outcome.evaluated, limits)}; refined by distillation"
        outcome = dataclasses.replace(outcome, chosen=chosen, front=(*outcome.front, chosen), message=message)
    report(outcome.message)
    provenance: dict[str, Any] = {
        "plan": outcome.message,
        "frames": {n: len(e.fit) + len(e.accept) for n, e in evidence.items()},
    }
    if field is not None:
        provenance["statistics"] = field.provenance()
    if settings.refit is not None:
        provenance["refit"] = {"sha256": files.sha256_of(settings.refit.read_bytes())}
    return Grafted(networks, evidence, similarity, outcome, assemble(networks, chosen, provenance), field)


def plan_refit(
    settings: Settings, load_frames: LoadFrames, work_dir: Path, report: Report = silent
) -> tuple[Bundle, tuple[Join, ...]]:
    """The refit bundle for a device, and where it shares.

    With frames, share points are those that :func:`graft` chooses; with statistics alone, the deepest alike ones.

    Args:
        settings: As read from multigraft.toml.
        load_frames: Opens a frame source.
        work_dir: An existing folder for intermediate files.
        report: Takes a line for each step.

    Raises:
        UsageError: Nothing is to be refitted.
        MultigraftError: As :func:`graft`.
    """
    joins: tuple[Join, ...]
    if any(settings.frames_of(task) for task in settings.tasks):
        grafted = graft(settings, load_frames, report)
        networks, message = grafted.networks, grafted.outcome.message
        chosen = [c.join for c in grafted.outcome.chosen.grafts.values()]
        joins = tuple(j for j in chosen if j.method not in ("exact", "raw"))
    else:
        assert settings.statistics is not None, "checked by the settings"
        field = Field.open(settings.statistics)
        networks = tuple(_load(task, settings, report) for task in settings.tasks)
        joins = propose(networks, field_similarity(field.statistics, networks), settings.graft.share)
        message = f"no cut points have a CKA of {MIN_CKA:g}"
    if not joins:
        raise UsageError(f"there is nothing to refit: {message}", "name a layer with --share TASK=LAYER")
    tolerances = {t.name: t.tolerance for t in settings.tasks}
    name = f"{settings.bundle.name}-refit"
    return make_refit_bundle(networks, joins, name, work_dir, report, tolerances=tolerances), joins


def build(
    settings: Settings,
    load_frames: LoadFrames,
    report: Report = silent,
    *,
    separate: bool = False,
    steps: Steps | None = None,
) -> Built:
    """Graft, convert and verify.

    Args:
        settings: As read from multigraft.toml.
        load_frames: Opens a frame source.
        report: Takes a line for each step.
        separate: Also convert the networks apart, for comparison.
        steps: Where finished steps are kept, so that an interrupted build can go on; None keeps none.

    Raises:
        MultigraftError: As :func:`graft`, or the conversion failed verification.
    """
    grafted = graft(settings, load_frames, report, steps=steps)
    with work_folder() as folder:
        conversion = _convert(grafted.multitask, grafted, settings, folder / "bundle", report, steps)
        apart = None
        if separate:
            nothing = assemble(grafted.networks, Plan({}, 0, 0))
            apart = _convert(nothing, grafted, settings, folder / "separate", report, steps)
    if not grafted.evidence:
        return Built(grafted, conversion, conversion.bundle, apart)
    report("compare the bundle with the original networks")
    runner = BundleRunner(conversion.bundle)
    figures = {}
    for network, task in zip(grafted.networks, settings.tasks, strict=True):
        evidence = grafted.evidence[network.name]
        found = bundle_agreement(runner, network, evidence, settings.budget.confidence, task.tolerance)
        figures[network.name] = {"bundle_agreement": found.to_json()}
        if network.name not in grafted.outcome.chosen.grafts:
            answers = evidence.answers(network)
            itself = agreement(network.kind, answers, answers, confidence=settings.budget.confidence)
            figures[network.name]["grafted_agreement"] = itself.to_json()
    return Built(grafted, conversion, with_fidelity(conversion.bundle, figures), apart)


def _load(task: TaskSettings, settings: Settings, report: Report) -> Network:
    report(f"import {task.name}")
    return load_task(task, settings.path.parent)


def _convert(
    multitask: MultiTaskModel, grafted: Grafted, settings: Settings, folder: Path, report: Report, steps: Steps | None
) -> Conversion:
    folder.mkdir()
    by_input: dict[str, Frames] = {}
    for network in grafted.networks:
        if network.input in multitask.inputs and grafted.evidence:
            served = [t.name for t in multitask.tasks if network.name in (t.name, t.donor)]
            by_input[network.input] = union_of({n: grafted.evidence[n].fit[:CALIBRATION_FRAMES] for n in served})
    ranges: Mapping[str, Range] | None = None
    if grafted.field is not None:
        ranges = field_ranges(grafted.field.statistics, grafted.networks)
    try:
        return convert(
            multitask,
            by_input,
            precision=settings.convert.precision,
            keep_float=settings.convert.keep_float,
            ranges=ranges,
            name=settings.bundle.name,
            work_dir=folder,
            report=report,
            steps=steps,
        )
    except MissingRangesError as error:
        if grafted.field is None:
            raise
        held = grafted.field.statistics
        raise MissingRangesError(
            f"{grafted.field.name}: {error.problem} ({held.inner_frames} of {held.frames} frames gave ranges of all)",
            f"collect until {held.minimum_frames} did, give frames, or choose --precision dynamic",
        ) from error


def _evidence(settings: Settings, load_frames: LoadFrames) -> dict[str, Evidence]:
    if settings.statistics is not None and not any(settings.frames_of(task) for task in settings.tasks):
        return {}
    loaded: dict[Path, Frames] = {}
    found = {}
    for task in settings.tasks:
        path = settings.frames_of(task)
        if path is None:
            raise ConfigurationError(
                f"{settings.path}: task {task.name!r} has no frames, and others have",
                "name unlabeled frames for every task, or statistics and no frames at all",
            )
        if path not in loaded:
            loaded[path] = load_frames(path)
        found[task.name] = split(loaded[path], settings, path)
    return found


def split(frames: Frames, settings: Settings, path: Path) -> Evidence:
    """The first frames fit, the rest accept; they are kept apart in time, since neighbours in a video are alike.

    Raises:
        InputError: There are too few frames to show the agreement that the budget asks for.
    """
    needed = settings.frames_needed
    fit = min(settings.graft.fit_frames, len(frames) - needed)
    if fit < needed // 4 or fit < 16:
        raise InputError(
            f"{path} holds {len(frames)} frames, and showing an agreement of {settings.budget.min_agreement:g} at a "
            f"confidence of {settings.budget.confidence:g} takes {needed} held-out frames besides those for fitting",
            f"give at least {needed + max(16, needed // 4)} frames (512 more are better) or lower the budget",
        )
    return Evidence(frames[:fit], frames[fit : fit + MAX_ACCEPT_FRAMES])


def _check_frames(networks: Sequence[Network], evidence: Mapping[str, Evidence]) -> None:
    """Prepare one frame for each network, so that a wrong shape is named before any long work."""
    for network in networks:
        network.prepare([evidence[network.name].fit[0]])


def plan_json(outcome: Outcome) -> dict[str, Any]:
    """The Pareto front and all evaluated grafts as plain data."""
    return {
        "message": outcome.message,
        "donors": list(outcome.donors),
        "pareto": outcome.pareto_json(),
        "evaluated": outcome.evaluated_json(),
    }
