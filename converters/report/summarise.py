"""From a finished build and what was measured to :class:`~multigraft.converters.report.summary.Summary`."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import multigraft
from multigraft.bundle.manifest import Task
from multigraft.converters.build import Built, Grafted
from multigraft.converters.graft.candidate import Candidate, make_tail
from multigraft.converters.graft.missed_budget import Miss, in_words
from multigraft.converters.graft.tail import grafted_answers
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.labelled import Labelled
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.materials import summarised
from multigraft.converters.planning.grown import grown
from multigraft.converters.report.summary import (
    AccuracyResult,
    AgreementResult,
    BitExactness,
    BudgetResult,
    LayerErrorResult,
    MachineResult,
    MissResult,
    Pair,
    ParetoPoint,
    SegmentResult,
    SimilarityResult,
    Summary,
    TaskResult,
    ThinnedLayerResult,
    ThinningResult,
)
from multigraft.converters.settings.settings import Settings
from multigraft.converters.similarity.heatmap import SharePoints

NOT_MEASURED = (
    "Agreement of the bundle was not measured: there were no frames. On the device, multigraft calibrate validate "
    "measures it."
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the runtime measured; see :mod:`multigraft.runtime.benchmark`.

    Attributes:
        latency_us: All tasks on one frame, without preprocessing.
        segments_us: Segment to its median.
        pss_kib: What the models add to a fresh process at the peak.
        energy: Joules for all tasks on one frame, or None.
        energy_reason: Why there is none.
        machine: Where.
    """

    latency_us: Pair
    segments_us: Mapping[str, float]
    pss_kib: Pair
    energy: Pair | None
    energy_reason: str
    machine: MachineResult


def nothing_measured(reason: str) -> Measured:
    """For a build that was not measured."""
    return Measured(Pair(issue=reason), {}, Pair(issue=reason), None, reason, MachineResult(""))


def summarise(
    settings: Settings,
    built: Built,
    measured: Measured,
    accuracy: Mapping[str, AccuracyResult],
    heatmaps: Mapping[tuple[str, str], Path],
    folder: Path,
    bundle_bytes: int | None = None,
    misses: Sequence[Miss] = (),
    not_compared: Sequence[str] = (),
) -> Summary:
    """Gather everything; heat maps are named relative to ``folder``, where summary.json will lie."""
    grafted, manifest = built.grafted, built.bundle.manifest
    verification = built.conversion.verification
    separate = built.separate.bundle.manifest.segments if built.separate else ()
    budget, asked = settings.budget, {t.name: t.min_agreement for t in settings.tasks}
    return Summary(
        tasks=tuple(_task(t, accuracy.get(t.name), asked.get(t.name)) for t in manifest.tasks),
        weights_bytes=Pair(
            sum(s.weights_bytes for s in separate) if separate else None,
            sum(s.weights_bytes for s in manifest.segments),
        ),
        macs=Pair(
            sum(n.macs for n in grafted.networks) + sum(n.macs for n in built.standing),
            sum(s.macs for s in manifest.segments),
        ),
        segments=BitExactness(verification.inputs, verification.mismatches, tuple(verification.backends)),
        name=manifest.name,
        bundle_bytes=bundle_bytes,
        latency_us=measured.latency_us,
        pss_kib=measured.pss_kib,
        energy=measured.energy,
        energy_reason=measured.energy_reason,
        machine=measured.machine,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=multigraft.__version__,
        budget=BudgetResult(
            budget.min_agreement,
            budget.confidence,
            budget.max_weights_bytes,
            budget.max_macs,
            budget.max_latency_us,
            budget.prefer,
            tuple(MissResult(m.key, m.limit, m.figure, m.task, m.samples, m.issue) for m in misses),
        ),
        notes=notes(built, misses),
        warnings=grafted.warnings,
        not_compared=tuple(not_compared),
        graph=_segments(built, measured),
        pareto=tuple(_pareto(grafted)),
        similarity=tuple(_similarity(grafted, heatmaps, folder)),
        layer_error=tuple(LayerErrorResult(**vars(layer)) for layer in built.conversion.layer_error.layers),
        provenance=summarised(manifest.provenance),
    )


def notes(built: Built, misses: Sequence[Miss]) -> tuple[str, ...]:
    """What a reader has to know first."""
    message = built.grafted.outcome.message
    sentences = [message[0].upper() + message[1:] + "."]
    for network in built.standing if built.grafted.networks else ():
        sentences.append(f"Task {network.name} is quantised already, and stands as it is.")
    if not built.grafted.evidence:
        sentences.append(NOT_MEASURED)
    sentences += built.conversion.sentences()
    if misses:
        sentences.append(f"The bundle misses the budget: {in_words(misses)}.")
    return tuple(sentences)


def share_points(grafted: Grafted) -> SharePoints:
    """(donor, target) to the cut points at which the chosen plan grafts."""
    return {
        (c.join.donor, c.join.target): (c.join.donor_point.name, c.join.target_point.name)
        for c in grafted.outcome.chosen.grafts.values()
    }


def measure_accuracy(built: Built, labelled: Mapping[str, Labelled]) -> dict[str, AccuracyResult]:
    """Labelled accuracy of every classification task that has labels: original, grafted, in the bundle, raw."""
    networks = {n.name: n for n in built.grafted.networks}
    runner = BundleRunner(built.bundle)
    accuracies = {}
    for name, data in labelled.items():
        network = networks.get(name)
        if network is None or network.kind != "classification":
            continue
        original = data.accuracy(network.run(network.prepare(data.frames))[network.outputs[0]])
        graft = built.grafted.outcome.chosen.grafts.get(name)
        chosen = built.grafted.outcome.chosen
        if graft is None:
            root = chosen.root(network)
            kept = original if root is network else data.accuracy(root.run(root.prepare(data.frames))[root.outputs[0]])
        else:
            kept = _tail_accuracy(built.grafted, graft, data)
        raw = None
        if graft is not None and not chosen.narrowed and graft.join.donor_point.shape == graft.join.target_point.shape:
            raw = _tail_accuracy(built.grafted, _as_raw(built.grafted, graft), data)
        in_bundle = data.accuracy(runner.outputs(name, data.frames)[0])
        accuracies[name] = AccuracyResult(original, kept, in_bundle, raw, len(data.labels))
    return accuracies


def _tail_accuracy(grafted: Grafted, graft: Candidate, data: Labelled) -> float:
    networks = {n.name: n for n in grafted.networks}
    donor = grown(networks[graft.join.donor], grafted.outcome.chosen, networks)
    return data.accuracy(grafted_answers(donor, graft.tail, data.frames)[0])


def _as_raw(grafted: Grafted, graft: Candidate) -> Candidate:
    is_raw = graft.join.method == "raw" and isinstance(graft.join.target_point, Frontier)
    if graft.join.method == "exact" or is_raw:
        return graft
    join = dataclasses.replace(graft.join, method="raw")
    networks = {n.name: n for n in grafted.networks}
    donor = grown(networks[join.donor], grafted.outcome.chosen, networks)
    tail, _, _ = make_tail(join, donor, networks[join.target], ())
    return dataclasses.replace(graft, join=join, tail=tail)


def _task(task: Task, accuracy: AccuracyResult | None, min_agreement: float | None) -> TaskResult:
    fidelity = task.fidelity
    return TaskResult(
        name=task.name,
        relation=task.relation,
        kind=task.kind,
        donor=task.donor,
        share_point=task.share_point,
        branch=task.branch,
        cka=fidelity.get("cka"),
        accuracy=accuracy,
        agreement=_agreement(fidelity.get("grafted_agreement")),
        int8_agreement=_agreement(fidelity.get("bundle_agreement")),
        thinned=_thinned(fidelity.get("thinned")),
        min_agreement=min_agreement,
    )


def _thinned(figures: Mapping[str, Any] | None) -> ThinningResult | None:
    if figures is None:
        return None
    (weights_were, weights), (macs_were, macs) = figures["weights"], figures["macs"]
    layers = tuple(ThinnedLayerResult(**layer) for layer in figures["layers"])
    return ThinningResult(weights, weights_were, macs, macs_were, layers)


def _agreement(figures: Mapping[str, object] | None) -> AgreementResult | None:
    if figures is None:
        return None
    return AgreementResult(**{f.name: figures[f.name] for f in dataclasses.fields(AgreementResult)})  # type: ignore[arg-type]


def _segments(built: Built, measured: Measured) -> tuple[SegmentResult, ...]:
    manifest = built.bundle.manifest
    writers = {tensor: s.name for s in manifest.segments for tensor in s.outputs.values()}
    return tuple(
        SegmentResult(
            s.name,
            tuple(writers[t] for t in s.inputs.values() if t in writers),
            tuple(t.name for t in manifest.tasks if s.name in t.segments),
            s.weights_bytes,
            s.macs,
            measured.segments_us.get(s.name),
            s.precision,
        )
        for s in manifest.segments
    )


def _pareto(grafted: Grafted) -> list[ParetoPoint]:
    """Plans whose agreement is known; none where that of the chosen one is not."""
    outcome = grafted.outcome
    if not outcome.chosen.is_measured:
        return []
    return [
        ParetoPoint(
            p.describe(),
            round(p.weights * outcome.limits.bytes_per_weight),
            p.macs,
            {name: a.value for name, a in p.agreements.items() if a},
            {name: a.lower_bound for name, a in p.agreements.items() if a},
            p == outcome.chosen,
            outcome.limits.keeps_agreement(p) and outcome.limits.fits(p),
            p.latency_us,
        )
        for p in outcome.front
    ]


def _similarity(grafted: Grafted, heatmaps: Mapping[tuple[str, str], Path], folder: Path) -> list[SimilarityResult]:
    table = grafted.similarity
    tables = []
    for a, b in itertools.combinations(table.networks, 2):
        rows, columns = table.points_of(a), table.points_of(b)
        picture = heatmaps.get((a, b))
        tables.append(
            SimilarityResult(
                a,
                b,
                tuple(p.split("/", 1)[1] for p in rows),
                tuple(p.split("/", 1)[1] for p in columns),
                tuple(tuple(round(table(r, c), 4) for c in columns) for r in rows),
                tuple(tuple(round(table.biased_between(r, c), 4) for c in columns) for r in rows),
                table.frames,
                str(picture.relative_to(folder)) if picture else None,
            )
        )
    return tables
