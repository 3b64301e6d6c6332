"""Weights of 4 and 2 bits beside int8: what they keep and cost, on both interpreters.

``python -m tests.benchmarks low_bit [multigraft.toml] [--only 8bit 2bit] [--steps]`` builds the networks of a
settings file (the demo's without one) in every precision and prints a table. Agreement is with the original networks,
on held-out frames that no choice has looked at; with ``labelled`` in the settings, accuracy is on labels. Memory is
what the bundle adds to a fresh process (PSS, median of several), time the median of one frame, all bundles in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from multigraft.agreement.agreement import Agreement
from multigraft.bundle.bundle import Bundle
from multigraft.cli.shared.settings_options import load_frames, use_one_thread
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import Built, build
from multigraft.converters.conversion.interpreters import available
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.job.progress import Report, terminal_report
from multigraft.converters.network.labelled import load_labelled
from multigraft.converters.packing import promise
from multigraft.converters.packing.fidelity import BundleRunner, bundle_agreement
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.lowering import lowered
from multigraft.converters.settings.convert_settings import Weights
from multigraft.converters.settings.settings import Settings
from multigraft.errors import BundleError
from multigraft.runtime.backends import InterpreterName
from multigraft.runtime.engine import Engine
from multigraft.runtime.memory import measure_bundle
from tests.benchmarks.low_bit_steps import show_steps

FRESH = 3
ROUNDS = 100
KINDS = ("8bit", "int4", "4bit", "2bit", "auto")
"""``int4`` is the precision of that name: 4-bit weights in convolutions as they are."""
NAMES: dict[InterpreterName, str] = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


def run(arguments: Sequence[str]) -> None:
    """Print the table."""
    use_one_thread()
    parser = argparse.ArgumentParser(prog="low_bit", description=__doc__)
    parser.add_argument("settings", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--steps", action="store_true", help="also layer by layer")
    parser.add_argument("--plot", type=Path, help="a picture of that")
    options = parser.parse_args(arguments)
    settings = Settings.load(options.settings or demo_folder() / "multigraft.toml")
    with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder:
        show(settings, options.only, Path(folder), options.steps or options.plot is not None, options.plot)


def show(settings: Settings, kinds: Sequence[str], folder: Path, steps: bool, plot: Path | None) -> None:
    """Build and measure ``kinds``, and go layer by layer if ``steps``."""
    convert = dataclasses.replace(settings.convert, precision="int8", weights="8bit", rescue="none")
    plain = dataclasses.replace(settings, convert=convert)
    with terminal_report() as report:
        built = build(plain, load_frames, report)
        figures = Figures(plain, built)
        if steps:
            show_steps(built, lambda bundle: [(a.value, right) for a, right in figures(bundle)], report, plot)
        bundles: dict[str, Bundle] = {}
        seconds: dict[str, float] = {}
        for kind in kinds:
            start = time.perf_counter()
            made = _made(plain, built, kind, report)
            bundles[kind], seconds[kind] = made.whole_bundle, time.perf_counter() - start
    deployed = {kind: bundle.deploy(folder / kind) for kind, bundle in bundles.items()}
    backends: list[InterpreterName] = [n for n, package in NAMES.items() if package in available()]
    made_engines = {(kind, b): _engine(path, b) for kind, path in deployed.items() for b in backends}
    engines = {key: engine for key, (engine, _) in made_engines.items()}
    times = _times(built, engines)
    rows = []
    for kind in bundles:
        for backend in backends:
            engine = engines[kind, backend]
            kept = figures(engine.bundle, backend)
            pss = statistics.median(measure_bundle(deployed[kind], backend).added_kib for _ in range(FRESH))
            rows.append(
                (
                    kind,
                    NAMES[backend] + made_engines[kind, backend][1],
                    ", ".join(f"{100 * a.value:.1f} (>= {100 * a.lower_bound:.1f} on {a.frames})" for a, _ in kept),
                    ", ".join(f"{100 * accuracy:.2f}" for _, accuracy in kept if accuracy is not None) or "-",
                    f"{len(engine.bundle.model):,}",
                    f"{pss:,.0f}",
                    f"{times[kind, backend]:,.0f}",
                    f"{seconds[kind]:.0f}",
                )
            )
    heads = ("weights", "interpreter", "agreement, %", "accuracy, %", "model, bytes", "PSS, KiB", "us", "made in s")
    print_table(f"{plain.path.name}: {', '.join(t.name for t in plain.tasks)}", heads, rows)


def _made(settings: Settings, built: Built, kind: str, report: Report) -> Conversion:
    if kind == "8bit":
        return built.conversion
    if kind == "int4":
        other = dataclasses.replace(settings, convert=dataclasses.replace(settings.convert, precision="int4"))
        return build(other, load_frames).conversion
    grafted = built.grafted
    asked = promise.few_bits(settings, built.conversion.bundle, grafted.networks, grafted.evidence)
    return lowered(built.conversion, dataclasses.replace(asked, weights=cast(Weights, kind)), report)


class Figures:
    """What bundles keep of every task, on an interpreter; equal models are measured once."""

    def __init__(self, settings: Settings, built: Built) -> None:
        self._settings, self._built = settings, built
        self._known: dict[tuple[bytes, InterpreterName], list[tuple[Agreement, float | None]]] = {}

    def __call__(self, bundle: Bundle, backend: InterpreterName = "litert") -> list[tuple[Agreement, float | None]]:
        """Agreement and, with labels, accuracy, task by task."""
        key = bundle.model, backend
        if key not in self._known:
            self._known[key] = self._measured(BundleRunner(bundle, NAMES[backend]))
        return self._known[key]

    def _measured(self, runner: BundleRunner) -> list[tuple[Agreement, float | None]]:
        proofs, confidence = promise.proofs(self._built.grafted.evidence), self._settings.budget.confidence
        found: list[tuple[Agreement, float | None]] = []
        for task, network in zip(self._settings.tasks, self._built.grafted.networks, strict=True):
            shown = bundle_agreement(runner, network, proofs[task.name], confidence, task.tolerance)
            accuracy = None
            if task.labelled is not None and task.kind == "classification":
                labelled = load_labelled(task.labelled, task.name)
                accuracy = labelled.accuracy(runner.outputs(task.name, labelled.frames)[0])
            found.append((shown, accuracy))
        return found


def _engine(path: Path, backend: InterpreterName) -> tuple[Engine, str]:
    """An engine, and what is to be said of it: its self-test is left out where it refuses."""
    try:
        engine, said = Engine(path, backend=backend), ""
    except BundleError:
        engine, said = Engine(path, backend=backend, self_test=False), "self-test fails"
    return engine, (
        " (fallback" if engine.fallback_reason else " ("
    ) + said + ")" if engine.fallback_reason or said else ""


def _times(
    built: Built, engines: Mapping[tuple[str, InterpreterName], Engine]
) -> dict[tuple[str, InterpreterName], float]:
    """Median time of all tasks on one frame, microseconds, without preparing it; all bundles in turn."""
    frames = {n.name: built.grafted.evidence[n.name].fit[0] for n in built.grafted.networks}
    frame = next(iter(frames.values()))
    seen: dict[tuple[str, InterpreterName], list[float]] = {key: [] for key in engines}
    for _ in range(ROUNDS):
        for key, engine in engines.items():
            result = engine.run(frame)
            seen[key].append(sum(result.latency_us.values()))
    return {key: statistics.median(values) for key, values in seen.items()}
