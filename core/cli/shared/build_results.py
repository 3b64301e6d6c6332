"""What ``build --report-dir`` and ``demo`` write beside the bundle: measurements, pictures, HTML page, summary.json."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from multigraft.cli.shared.json_text import json_text

if TYPE_CHECKING:
    from multigraft.converters.build import Built
    from multigraft.converters.graft.missed_budget import Miss
    from multigraft.converters.job.progress import Report
    from multigraft.converters.report.summarise import Measured
    from multigraft.converters.report.summary import AccuracyResult, Summary
    from multigraft.converters.settings.settings import Settings

Result = TypeVar("Result")

RUNS, WARMUP = 300, 30
MEMORY_RUNS = 3
FRAMES = 64


def write_results(
    settings: Settings,
    built: Built,
    bundle: Path,
    folder: Path,
    report: Report,
    labelled: bool = True,
    misses: Sequence[Miss] = (),
) -> Summary:
    """Measure the written bundle on this machine and write everything that people look at into ``folder``.

    Files: ``summary.json``, ``report.html``, ``pareto.png``, ``similarity_A_B.png``, ``similarity.json``,
    ``plans.json``, ``layer_error.json``, and beside the bundle ``NAME.separate/TASK.tflite`` and ``NAME.uncut.tflite``.

    What fails on the way, whatever the reason, stands in the summary: the bundle is good without it.
    """

    from multigraft import files
    from multigraft.converters.network.labelled import load_labelled
    from multigraft.converters.report import page, pareto_plot, summarise
    from multigraft.converters.similarity.heatmap import write_heatmaps
    from multigraft.tensors.preparation import row_shape

    folder.mkdir(parents=True, exist_ok=True)
    attempt = _Attempts()
    if built.separate_issue:
        attempt.failed.append(f"the networks apart, which could not be converted: {built.separate_issue}")
    separate: Mapping[str, Path] = {}
    separate = attempt("models for comparison", lambda: write_comparison_models(built, bundle), separate)
    report("measure latency, memory and energy")
    measured = attempt(
        "latency, memory and energy",
        lambda: _measure(bundle, list(separate.values()), timing_frames(built)),
        summarise.nothing_measured("the measurement failed"),
    )
    accuracy: Mapping[str, AccuracyResult] = {}
    if labelled:
        report("measure accuracy on labelled frames")
        accuracy = attempt(
            "accuracy on labelled frames",
            lambda: summarise.measure_accuracy(
                built,
                {
                    t.name: load_labelled(t.labelled, t.name, row_shape(t.preprocessing))
                    for t in settings.tasks
                    if t.labelled
                },
            ),
            accuracy,
        )
    report("draw and write the report")
    points = summarise.share_points(built.grafted)
    heatmaps: Mapping[tuple[str, str], Path] = {}
    heatmaps = attempt(
        "heat maps of similarity", lambda: write_heatmaps(built.grafted.similarity, folder, points), heatmaps
    )
    size = bundle.stat().st_size
    summary = summarise.summarise(settings, built, measured, accuracy, heatmaps, folder, size, misses)
    for name, data in (
        ("similarity.json", built.grafted.similarity.to_json()),
        ("plans.json", built.grafted.outcome.to_json()),
        ("layer_error.json", built.conversion.layer_error.to_json()),
    ):
        files.write_bytes(folder / name, json_text(data, indent=1).encode() + b"\n")
    if summary.pareto:
        attempt("the Pareto plot", lambda: pareto_plot.write_png(summary, folder / "pareto.png"), None)
    told = dataclasses.replace(summary, not_compared=tuple(attempt.failed))
    (folder / "report.html").unlink(missing_ok=True)
    attempt("the page of the report", lambda: page.write_page(told, folder / "report.html", folder), None)
    told = dataclasses.replace(summary, not_compared=tuple(attempt.failed))
    told.write(folder / "summary.json")
    return told


class _Attempts:
    """Does the parts of a report and remembers those that failed.

    Attributes:
        failed: What failed and why, each a sentence without a full stop.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []

    def __call__(self, what: str, do: Callable[[], Result], otherwise: Result) -> Result:
        """The result of ``do``, or ``otherwise`` where it fails."""
        from multigraft.converters.job.failed_step import reason_of

        try:
            return do()
        except Exception as error:
            self.failed.append(f"{what}: {reason_of(error)}")
            return otherwise


def timing_frames(built: Built) -> list[Any]:
    """Frames for timing: a held-out one of each task, or grey where a build had none; by task where kinds differ."""
    from multigraft.runtime.frames import blank_frames
    from multigraft.tensors.preparation import take_same_frames

    evidence, manifest = built.grafted.evidence, built.bundle.manifest
    if not evidence:
        # Time does not depend on what a frame shows.
        return [blank_frames(manifest)]
    first = manifest.inputs[0].preprocessing
    if all(take_same_frames(first, source.preprocessing) for source in manifest.inputs):
        return [e.accept[0] for e in evidence.values()]
    frames: dict[str, Any] = {}
    by_input: dict[str, Any] = {}
    for task in manifest.tasks:
        for source in manifest.inputs_of(task.name):
            frames[task.name] = by_input.setdefault(source.tensor, evidence[task.name].accept[0])
    return [frames]


def write_comparison_models(built: Built, bundle: Path) -> Mapping[str, Path]:
    """Write the uncut model and the separate ones beside the bundle, for ``multigraft bench``."""
    from multigraft import files
    from multigraft.converters.report.separate_models import write_separate_models

    files.write_bytes(bundle.with_suffix(".uncut.tflite"), built.conversion.uncut_model)
    if built.separate is None:
        return {}
    return write_separate_models(built.separate, bundle.with_suffix(".separate"))


def _median(measure: Callable[[], float]) -> float:
    """Median over :data:`MEMORY_RUNS` fresh processes."""
    import statistics

    return statistics.median(measure() for _ in range(MEMORY_RUNS))


def _measure(bundle: Path, separate: list[Path], frames: list[Any]) -> Measured:
    from multigraft.converters.report.summarise import Measured
    from multigraft.converters.report.summary import MachineResult, Pair
    from multigraft.devices.power.power import find_power_meter
    from multigraft.runtime import Engine, benchmark, memory
    from multigraft.runtime.machine import Machine

    engine = Engine(bundle)
    frames = list(itertools.islice(itertools.cycle(frames), FRAMES))
    timing = benchmark.measure_latency(engine, frames, None, RUNS, WARMUP)
    latency = Pair(None, timing.compute.p50, timing.compute.samples)
    pss = Pair(None, _median(lambda: memory.measure_bundle(bundle).added_kib), MEMORY_RUNS)
    if separate:
        compared = benchmark.compare_separate(engine, separate, frames, RUNS, WARMUP)
        latency = Pair(compared.other_us, compared.engine_us, compared.pairs)
        pss = Pair(_median(lambda: memory.measure_models(separate).added_kib), pss.bundle, MEMORY_RUNS)
    meter, reason = find_power_meter()
    energy = None
    if meter is not None:
        measured = benchmark.measure_energy(engine, frames, None, meter)
        energy = Pair(None, measured.energy_j_per_frame, measured.frames)
    here = Machine.here(engine.model.backend)
    machine = MachineResult(
        f"{here.board} {here.processor}".strip(), here.architecture, here.cores, "", here.interpreter, 1
    )
    segments = {name: segment.p50 for name, segment in timing.segments.items()}
    return Measured(latency, segments, pss, energy, reason, machine)
