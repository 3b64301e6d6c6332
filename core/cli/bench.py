"""``multigraft bench``: latency, memory and energy of a bundle, and against the models it was made from."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.offloading.offload_options import add_offload_arguments, client_of
from multigraft.cli.shared.bundle_sources import add_source_argument, open_bundle_source
from multigraft.cli.shared.engine_options import add_engine_arguments, open_engine
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.rate_options import add_rate_argument
from multigraft.cli.shared.table import print_table
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.devices.cameras.camera import Camera
    from multigraft.runtime import Engine
    from multigraft.runtime.benchmark import Distribution, Timing
    from multigraft.runtime.crop_timing import CropTiming

MAX_FRAMES = 64
"""Frames kept in memory; runs go round."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_engine_arguments(parser)
    add_source_argument(parser, "fake frames of the input's size")
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="frames measured (default: 500)")
    parser.add_argument("--warmup", type=int, default=50, metavar="N", help="frames before that (default: 50)")
    parser.add_argument(
        "--against",
        action="append",
        nargs="+",
        default=[],
        metavar=("separate|uncut", "MODEL.tflite"),
        help="compare with the tasks' separate models or with the uncut model: those named, or those that build wrote "
        "beside the bundle; may be given twice",
    )
    add_rate_argument(
        parser, "only say whether tasks at these rates fit this machine, and which rates would (exit code 1 if not)"
    )
    parser.add_argument(
        "--link",
        metavar="RATE[,ROUNDTRIP]",
        help="only say what each cut point costs on such a link to a server (docs/offload.md): 5mbit,20ms",
    )
    parser.add_argument(
        "--policy",
        metavar="A,B",
        help="only compare ways of answering with a server's help, on --runs frames: always-local, always-remote, "
        "send-input, send-jpeg-95 (75, 50), conditional; with --link as over that link",
    )
    parser.add_argument("--labelled", type=Path, metavar="FILE.npz", help="with --policy: frames and labels")
    parser.add_argument(
        "--table", default="45nm", help="with --policy: picojoules of the estimate, 45nm or as in 5,160 (default: 45nm)"
    )
    add_offload_arguments(parser)
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory in fresh processes")
    parser.add_argument("--no-energy", action="store_true", help="do not look for a power sensor")


def execute(options: argparse.Namespace) -> int:
    """Measure, then print tables, or with ``--json`` everything as one object."""
    if options.rate:
        return _admit(options)
    if options.policy is not None:
        return _compare_policies(options)
    if options.labelled is not None or client_of(options) is not None:
        raise UsageError("--labelled and --offload belong to --policy", "add --policy always-local,conditional")
    if options.link is not None:
        return _split(options)
    for kind, *models in options.against:
        if kind not in ("separate", "uncut") or (kind == "uncut" and len(models) > 1):
            raise UsageError(
                f"--against {' '.join((kind, *models))} is not understood",
                "write --against separate [MODEL.tflite ...], or --against uncut [MODEL.tflite]",
            )
    from multigraft.devices.thermal import Thermal, ThrottlingWatch
    from multigraft.runtime import benchmark, heap
    from multigraft.runtime.machine import Machine

    thermal = Thermal()
    watch = ThrottlingWatch(thermal)
    engine, tasks = open_engine(options)
    frames = first_frames(options.source, engine, tasks, min(MAX_FRAMES, options.warmup + options.runs))
    # Of frames by task each says what it is for, as in `run`.
    asked = None if frames and isinstance(frames[0], Mapping) else tasks
    heap.settle()
    timing = benchmark.measure_latency(engine, frames, asked, options.runs, options.warmup)
    exits = engine.exits_to_json()
    comparisons, separate = [], []
    for kind, *models in options.against:
        paths = [Path(model) for model in models]
        if kind == "uncut":
            uncut = paths[0] if paths else benchmark.uncut_model(engine)
            compared = benchmark.compare_uncut(engine, uncut, frames, options.runs, options.warmup, options.threads)
        else:
            separate = paths or list(benchmark.separate_models(engine).values())
            compared = benchmark.compare_separate(
                engine, separate, frames, options.runs, options.warmup, options.threads
            )
        comparisons.append({"against": kind, **compared.to_json()})
    report = {
        "bundle": str(options.bundle),
        "tasks": list(tasks or (task.name for task in engine.manifest.tasks)),
        "machine": Machine.here(engine.model.backend).to_json(),
        "threads": options.threads,
        "frames": len(frames),
        "self_test": None if engine.self_test is None else engine.self_test.to_json(),
        "latency_us": asdict(timing),
        "fallback_reason": engine.fallback_reason,
        "stages": [stage.to_json() for stage in _stages(engine, frames, tasks, options)],
        "exits": exits,
        "weights_bytes": benchmark.weights_bytes(engine),
        "model_bytes": {
            "bundle": len(engine.bundle.model),
            "separate": sum(path.stat().st_size for path in separate) if separate else None,
        },
        "against": comparisons,
        **_memory(options, engine, separate),
        **_energy(options, engine, frames, asked),
    }
    report |= {"was_throttled": watch.was_throttled(), "temperature_c": thermal.temperature_c()}
    if options.json:
        print(json_text(report, indent=1))
    else:
        _print(report, timing, str(Machine.here(engine.model.backend)))
    return 0


def _admit(options: argparse.Namespace) -> int:
    """Say whether rates fit; 0 if they do, 1 if not."""
    from multigraft.runtime import heap
    from multigraft.runtime.machine import Machine
    from multigraft.runtime.scheduling.admission import admit
    from multigraft.runtime.scheduling.measuring import measure_times
    from multigraft.runtime.scheduling.rates import parse_rates, rates_of

    bare, own = parse_rates(options.rate)
    engine, tasks = open_engine(options)
    rates = rates_of(bare, own, tasks or tuple(task.name for task in engine.manifest.tasks))
    shown = first_frames(options.source, engine, tasks, min(MAX_FRAMES, options.warmup + options.runs))
    if any(isinstance(frame, Mapping) and frame.keys() != shown[0].keys() for frame in shown):
        raise UsageError("sources of tasks that share an input have no frame in common", "give one source for all")
    frames = itertools.cycle(shown)
    heap.settle()
    times = measure_times(engine, lambda: next(frames), [rate.task for rate in rates])
    verdict = admit(rates, times)
    if options.json:
        machine = Machine.here(engine.model.backend).to_json()
        print(json_text({"bundle": str(options.bundle), "machine": machine, **verdict.to_json()}, indent=1))
    else:
        print(f"{verdict.sentence()}{'' if verdict.fits else f'; {verdict.remedy()}'}.")
    return 0 if verdict.fits else 1


def _split(options: argparse.Namespace) -> int:
    """Say what each cut point costs."""
    from multigraft.cli.offloading.split_table import print_splits

    options.no_exits = True  # A frame that leaves early is none for a server, and has no tensor behind its exit.
    engine, tasks = open_engine(options)
    frames = first_frames(options.source, engine, tasks, min(MAX_FRAMES, options.warmup + options.runs))
    print_splits(engine, tasks, frames, options.runs, options.warmup, options.link, options.json)
    return 0


def _compare_policies(options: argparse.Namespace) -> int:
    """Say what ways of answering with a server's help are worth."""
    from multigraft.cli.offloading.policy_table import PolicyTable, comparable, labelled_frames

    if options.runs < 1 or options.warmup < 0:
        raise UsageError(f"{options.runs} runs after {options.warmup} for warming up", "give at least 1 run")
    table = PolicyTable(options)
    early, tasks = open_engine(options)
    chosen = comparable(early, tasks)
    options.no_exits = True
    whole = open_engine(options)[0] if early.gates else early
    if options.labelled is not None and options.source:
        raise UsageError("--labelled has frames of its own", "leave --source out")
    for name in chosen:
        if options.labelled is not None:
            # Labelled frames do not follow each other, so that a gate has no last one to repeat the answer of.
            judged = whole if early.manifest.task(name).repeats else early
            table.add(whole, judged, name, *labelled_frames(options, whole, name))
            continue
        with _fake_or_opened(options.source, whole, tasks) as camera:
            table.add(whole, early, name, itertools.islice(_frames_of(camera, name), options.runs), None)
    if options.json:
        table.print_json(whole)
    return 0


def _frames_of(camera: Iterable[Any], task: str) -> Iterator[Any]:
    """Those for a task: sources of tasks that share an input give theirs in turn."""
    for frame in camera:
        if not isinstance(frame, Mapping):
            yield frame
        elif task in frame:
            yield frame[task]


def _stages(
    engine: Engine, frames: list[Any], tasks: tuple[str, ...] | None, options: argparse.Namespace
) -> list[CropTiming]:
    from multigraft.runtime.crop_timing import measure_crops

    pictures = [frame for frame in frames if str(getattr(frame, "dtype", "")) == "uint8"]
    return measure_crops(engine, pictures[0], tasks, options.runs, options.warmup) if pictures else []


def first_frames(sources: list[str] | None, engine: Engine, tasks: tuple[str, ...] | None, most: int) -> list[Any]:
    """Up to ``most`` frames of what sources name; without any, fake ones that fit the bundle."""
    with _fake_or_opened(sources, engine, tasks) as camera:
        return list(itertools.islice(camera, most))


def _fake_or_opened(sources: list[str] | None, engine: Engine, tasks: tuple[str, ...] | None) -> Camera:
    from multigraft.devices.cameras.fake_camera import FakeCamera
    from multigraft.tensors.preprocessing import Preprocessing

    manifest = engine.manifest
    if sources:
        return open_bundle_source(sources, manifest, tasks)
    if all(isinstance(source.preprocessing, Preprocessing) for source in manifest.inputs):
        first = manifest.inputs[0].preprocessing
        assert isinstance(first, Preprocessing)
        return FakeCamera(first.height, first.width, first.color != "grey")
    asked = tasks or [task.name for task in manifest.tasks]
    return open_bundle_source([f"{task}=fake:" for task in asked], manifest, tasks)


def _memory(options: argparse.Namespace, engine: Engine, separate: list[Path]) -> dict[str, Any]:
    if options.no_memory:
        return {"pss_kib": None}
    from multigraft.runtime.memory import measure_bundle, measure_models

    backend = engine.model.backend.name
    used = {"bundle": measure_bundle(Path(options.bundle), backend, options.threads).to_json()}
    if separate:
        used["separate"] = measure_models(separate, backend, options.threads).to_json()
    return {"pss_kib": used}


def _energy(
    options: argparse.Namespace, engine: Engine, frames: list[Any], tasks: tuple[str, ...] | None
) -> dict[str, Any]:
    if options.no_energy:
        return {"energy": None, "energy_reason": "not asked for"}
    from multigraft.devices.power.power import find_power_meter
    from multigraft.runtime.benchmark import measure_energy

    meter, reason = find_power_meter()
    if meter is None:
        return {"energy": None, "energy_reason": reason}
    return {"energy": measure_energy(engine, frames, tasks, meter).to_json(), "energy_reason": ""}


def _print(report: dict[str, Any], timing: Timing, machine: str) -> None:
    print(f"{report['bundle']} on {machine}, {report['threads']} threads\n")
    rows = [("preprocessing", timing.preprocessing), *timing.segments.items(), ("answering", timing.answering)]
    rows += [("all but preprocessing", timing.compute), ("total", timing.total)]
    print_table(
        f"Latency in microseconds over {timing.total.samples} frames",
        ("part", "median", "p90", "p99", "min", "max", "weights (bytes)"),
        [_latency_row(name, distribution, report["weights_bytes"].get(name)) for name, distribution in rows],
    )
    if report["exits"]:
        print_table(
            "Early exits, over these frames and those for warming up",
            ("exit", "task", "reached", "taken", "rate", "audited", "disagreed"),
            [
                (
                    name, e["task"], f"{e['reached']:,}", f"{e['taken']:,}",
                    "-" if e["rate"] is None else f"{100 * e['rate']:.1f} %",
                    f"{e['audited']:,}", f"{e['disagreed']:,}",
                )
                for name, e in report["exits"].items()
            ],
        )  # fmt: skip
    if report["stages"]:
        print_table(
            f"Looking at boxes, in microseconds over {timing.total.samples} made-up sets of them",
            ("tasks", "on", "boxes", "median", "p90", "p99"),
            [
                (", ".join(s["tasks"]), s["on"], count, *(f"{taken[p]:.1f}" for p in ("p50", "p90", "p99")))
                for s in report["stages"]
                for count, taken in s["crops"].items()
            ],
        )
    if report["against"]:
        print_table(
            "Engine without preprocessing against, by interleaved pairs (microseconds, medians)",
            ("against", "pairs", "engine", "other", "ratio", "difference"),
            [
                (
                    c["other"], str(c["pairs"]), f"{c['engine_us']:.1f}", f"{c['other_us']:.1f}",
                    f"{c['ratio']:.3f}", f"{c['difference_us']:.1f}",
                )
                for c in report["against"]
            ],
        )  # fmt: skip
    sizes = report["model_bytes"]
    print(f"Weights: {sum(report['weights_bytes'].values()):,} bytes; model.tflite {sizes['bundle']:,} bytes", end="")
    print("." if sizes["separate"] is None else f", separate models {sizes['separate']:,} bytes.")
    for name, used in (report["pss_kib"] or {}).items():
        print(
            f"Memory (PSS), {name}: {used['peak_kib']:,} KiB at the peak, "
            f"{used['added_kib']:,} KiB of it for the models."
        )
    energy = report["energy"]
    if energy is None:
        print(f"Energy: not measured: {report['energy_reason']}.")
    else:
        print(
            f"Energy: {energy['energy_j_per_frame']:.6f} J per frame, {energy['idle_energy_j_per_frame']:.6f} J of it "
            f"would be drawn idle ({energy['meter']}, {energy['frames']} frames, {energy['window_s']:.1f} s)."
        )

    print(_throttling(report["was_throttled"], report["temperature_c"]))


def _throttling(was_throttled: bool | None, temperature_c: float | None) -> str:
    """A sentence."""
    warm = "" if temperature_c is None else f" ({temperature_c:.1f} °C now)"
    if was_throttled is None:
        return f"Throttling: not known, this system does not tell{warm}."
    if was_throttled:
        return (
            f"Throttling: the processor was slowed down meanwhile{warm}, so times are too long; cool it, or give it a "
            "stronger power supply."
        )
    return f"Throttling: none meanwhile{warm}."


def _latency_row(name: str, distribution: Distribution, weights: int | None) -> tuple[str, ...]:
    figures = (
        f"{value:.1f}"
        for value in (distribution.p50, distribution.p90, distribution.p99, distribution.min, distribution.max)
    )
    return (name, *figures, "" if weights is None else f"{weights:,}")
