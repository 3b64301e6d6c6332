"""Latency, memory and energy of a bundle, alone and against the models it was made from.

Latency figures are microseconds of wall time in one process. Two things are compared by interleaved pairs (engine,
other, engine, other, ... with the order of each pair turned round every time): the machine's drift meets both, and the
median of the pairs' ratios is told. Preprocessing is left out of comparisons, but done on both sides: reading a frame
leaves the caches in another state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.devices.power.power import PowerMeter
from multigraft.errors import InputError, UsageError
from multigraft.runtime.engine import Engine
from multigraft.runtime.tflite_model import Subgraph, TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame, Preparer, preparer_for
from multigraft.tensors.specs import TensorSpec

_now = time.perf_counter_ns

Frames = Sequence[Frame | Mapping[str, Frame]]
"""Frames for all tasks, or task to frame."""


@dataclass(frozen=True)
class Distribution:
    """Microseconds: order statistics and mean over ``samples`` runs."""

    samples: int
    min: float
    p50: float
    p90: float
    p99: float
    max: float
    mean: float

    @classmethod
    def of(cls, values_us: Sequence[float]) -> Distribution:
        """Summarise at least one value."""
        values = np.asarray(values_us, np.float64)
        low, p50, p90, p99, high = (round(float(p), 3) for p in np.percentile(values, (0, 50, 90, 99, 100)))
        return cls(len(values), low, p50, p90, p99, high, round(float(values.mean()), 3))


@dataclass(frozen=True)
class Timing:
    """Latency of one engine. ``compute`` is ``total`` without ``preprocessing``, run by run."""

    total: Distribution
    preprocessing: Distribution
    segments: dict[str, Distribution]
    answering: Distribution
    compute: Distribution


@dataclass(frozen=True)
class Comparison:
    """The engine without preprocessing against something else, by pairs.

    Attributes:
        other: What the other is.
        pairs: Number of pairs.
        engine_us: Median time of the engine.
        other_us: Median time of the other.
        ratio: Median over the pairs of engine / other: below 1 the engine is faster.
        difference_us: Median over the pairs of engine - other.
    """

    other: str
    pairs: int
    engine_us: float
    other_us: float
    ratio: float
    difference_us: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Energy:
    """Joules per frame of everything on the meter's rails, and what the same time costs without running anything."""

    meter: str
    rails: tuple[str, ...]
    frames: int
    window_s: float
    energy_j_per_frame: float
    idle_energy_j_per_frame: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def measure_latency(engine: Engine, frames: Frames, tasks: Sequence[str] | None, runs: int, warmup: int) -> Timing:
    """Run the engine on ``frames`` in turn.

    Raises:
        UsageError: There is no frame, or no run is asked for.
    """
    _check(frames, runs, warmup)
    chosen = tuple(tasks) if tasks is not None else None
    results = [engine.run(frames[number % len(frames)], chosen) for number in range(warmup + runs)][warmup:]
    segments = [result.latency_us for result in results]
    return Timing(
        total=Distribution.of([r.total_us for r in results]),
        preprocessing=Distribution.of([r.preprocessing_us for r in results]),
        # Of a bundle with early exits, over the frames that needed the segment.
        segments={
            name: Distribution.of([s[name] for s in segments if name in s])
            for name in dict.fromkeys(name for s in segments for name in s)
        },
        answering=Distribution.of([r.answering_us for r in results]),
        compute=Distribution.of([r.total_us - r.preprocessing_us for r in results]),
    )


def compare_uncut(engine: Engine, model: Path, frames: Frames, runs: int, warmup: int, threads: int = 1) -> Comparison:
    """The engine on all tasks against the bare invoke of one .tflite file that holds the same graph uncut.

    Raises:
        InputError: The file is not there or cannot be run.
        UsageError: There is no frame, or no run is asked for.
    """
    _check(frames, runs, warmup)
    other = _Bare.open(engine, model, threads)
    return _pairs(engine, frames, [other], f"bare invoke of {model.name}", runs, warmup)


def compare_separate(
    engine: Engine, models: Sequence[Path], frames: Frames, runs: int, warmup: int, threads: int = 1
) -> Comparison:
    """The engine on all tasks against the bare invokes, one after the other, of one .tflite file per task.

    Raises:
        InputError: A file is not there or cannot be run.
        UsageError: There is no frame, or no run is asked for.
    """
    _check(frames, runs, warmup)
    others = [_Bare.open(engine, model, threads) for model in models]
    return _pairs(engine, frames, others, f"bare invokes of {len(models)} separate models", runs, warmup)


def measure_energy(
    engine: Engine, frames: Frames, tasks: Sequence[str] | None, meter: PowerMeter, window_s: float = 2.0
) -> Energy:
    """Answer frames for ``window_s`` seconds under the meter, after standing idle for as long.

    Raises:
        DeviceError: The meter stopped answering.
    """
    chosen = tuple(tasks) if tasks is not None else None
    with meter:
        time.sleep(window_s)
        idle_j = meter.energy_j()
    count = 0
    with meter:
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < window_s or not count:
            engine.run(frames[count % len(frames)], chosen)
            count += 1
        energy_j = meter.energy_j()
    idle_w = idle_j / window_s if window_s else 0.0
    return Energy(meter.name, meter.rails, count, spent, energy_j / count, idle_w * spent / count)


def separate_models(engine: Engine) -> dict[str, Path]:
    """Task to .tflite file, as ``multigraft build`` writes them: ``NAME.separate/TASK.tflite`` beside ``NAME.graft``.

    Raises:
        InputError: They are not there.
    """
    return {task.name: _beside(engine, f"separate/{task.name}") for task in engine.manifest.tasks}


def uncut_model(engine: Engine) -> Path:
    """The .tflite file of the uncut graph, as ``multigraft build`` writes it: ``NAME.uncut.tflite``.

    Raises:
        InputError: It is not there.
    """
    return _beside(engine, "uncut")


def _beside(engine: Engine, what: str) -> Path:
    bundle = engine.bundle.path or Path(f"{engine.manifest.name}.graft")
    path = bundle.parent / f"{bundle.stem}.{what}.tflite"
    if not path.is_file():
        raise InputError(
            f"{path} does not exist",
            "build with --report-dir, which writes it, or name the models, as in --against separate A.tflite B.tflite",
        )
    return path


def weights_bytes(engine: Engine) -> dict[str, int]:
    """Segment to bytes of its weights, as the manifest tells."""
    return {segment.name: segment.weights_bytes for segment in engine.manifest.segments}


def _check(frames: Frames, runs: int, warmup: int) -> None:
    if not frames:
        raise UsageError("there are no frames to measure on", "give at least one")
    if runs < 1 or warmup < 0:
        raise UsageError(f"{runs} runs after {warmup} for warming up", "give at least 1 run")


@dataclass(frozen=True)
class _Bare:
    """A model's first subgraph, and what writes a frame into those inputs that a preprocessing of the bundle fits."""

    graph: Subgraph
    fills: tuple[tuple[Preparer, Array, str], ...]

    @classmethod
    def open(cls, engine: Engine, model: Path, threads: int) -> _Bare:
        graph = TfliteModel(model, engine.model.backend.name, threads).subgraph()
        manifest = engine.manifest
        by_shape = {manifest.tensor(i.tensor).shape: i for i in manifest.inputs}
        fills = []
        for name, array in graph.inputs.items():
            if array.shape in by_shape:
                scale, zero_point = graph.scales[name]
                spec = TensorSpec(name, array.shape, str(array.dtype), scale or None, zero_point)
                source = by_shape[array.shape]
                task = next(t.name for t in manifest.tasks if source in manifest.inputs_of(t.name))
                fills.append((preparer_for(source.preprocessing, spec), array, task))
        return cls(graph, tuple(fills))

    def fill(self, frame: Frame | Mapping[str, Frame]) -> None:
        for preparer, array, task in self.fills:
            preparer.fill(frame[task] if isinstance(frame, Mapping) else frame, array)


def _pairs(engine: Engine, frames: Frames, others: Sequence[_Bare], name: str, runs: int, warmup: int) -> Comparison:
    ours, theirs = [], []
    for number in range(-warmup, runs):
        frame = frames[number % len(frames)]
        result = engine.run(frame) if number % 2 else None
        spent = 0
        for other in others:
            other.fill(frame)
            start = _now()
            other.graph.invoke()
            spent += _now() - start
        if result is None:
            result = engine.run(frame)
        if number >= 0:
            ours.append(result.total_us - result.preprocessing_us)
            theirs.append(spent / 1000)
    a, b = np.array(ours), np.array(theirs)
    middle = {"engine_us": a, "other_us": b, "ratio": a / b, "difference_us": a - b}
    return Comparison(name, runs, **{key: round(float(np.median(value)), 4) for key, value in middle.items()})
