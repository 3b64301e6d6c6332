"""Figures are complete and consistent; how large they are is for the benchmarks to say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from multigraft.devices.power.fake_meter import FakeMeter
from multigraft.errors import InputError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.backends import BackendName
from multigraft.runtime.benchmark import (
    Distribution,
    compare_separate,
    compare_uncut,
    measure_energy,
    measure_latency,
    separate_models,
    weights_bytes,
)
from multigraft.runtime.machine import Machine
from multigraft.tensors.preprocessing import Frame
from tests.bundle_builder import build

Written = tuple[Engine, Path]


@pytest.fixture
def written(backend: BackendName, tmp_path: Path) -> Written:
    """An engine on a written bundle, with its uncut and its separate models beside it."""
    built = build(backend=backend)
    (tmp_path / "uncut.tflite").write_bytes(built.uncut)
    (tmp_path / "home.separate").mkdir()
    for task, data in built.separate.items():
        (tmp_path / "home.separate" / f"{task}.tflite").write_bytes(data)
    return Engine(built.bundle.write(tmp_path / "home.graft"), backend=backend), tmp_path


def frames_of(count: int = 3) -> list[Frame]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 28, 28), dtype=np.uint8))


def test_latency_is_told_per_segment_and_in_total(written: Written) -> None:
    engine, _ = written
    timing = measure_latency(engine, frames_of(), None, runs=7, warmup=2)
    assert list(timing.segments) == ["trunk", "head_garment", "head_digit"]
    for us in (timing.total, timing.preprocessing, timing.answering, timing.compute, *timing.segments.values()):
        assert us.samples == 7
        assert 0 < us.min <= us.p50 <= us.p90 <= us.p99 <= us.max
    assert timing.compute.min < timing.total.min
    asked = measure_latency(engine, frames_of(), ["digit"], runs=2, warmup=0)
    assert list(asked.segments) == ["trunk", "head_digit"]


def test_a_distribution_of_known_values() -> None:
    us = Distribution.of([float(v) for v in range(101)])
    assert (us.samples, us.min, us.p50, us.p90, us.p99, us.max, us.mean) == (101, 0, 50, 90, 99, 100, 50)


def test_comparisons_are_by_pairs(written: Written) -> None:
    engine, folder = written
    uncut = compare_uncut(engine, folder / "uncut.tflite", frames_of(), runs=9, warmup=2)
    separate = compare_separate(engine, list(separate_models(engine).values()), frames_of(), runs=9, warmup=2)
    for comparison in (uncut, separate):
        assert comparison.pairs == 9
        assert comparison.engine_us > 0 and comparison.other_us > 0 and comparison.ratio > 0
        assert comparison.to_json()["other"] == comparison.other
    assert "uncut.tflite" in uncut.other and "2 separate" in separate.other


def test_separate_models_are_those_beside_the_bundle(written: Written) -> None:
    engine, folder = written
    assert separate_models(engine) == {
        task: folder / "home.separate" / f"{task}.tflite" for task in ("garment", "digit")
    }
    (folder / "home.separate" / "digit.tflite").unlink()
    with pytest.raises(InputError, match=r"digit\.tflite"):
        separate_models(engine)
    with pytest.raises(InputError):
        separate_models(Engine(build().bundle, self_test=False))


def test_weights_are_those_of_the_manifest(written: Written) -> None:
    engine, _ = written
    assert weights_bytes(engine) == {s.name: s.weights_bytes for s in engine.manifest.segments}


def test_energy_per_frame_is_the_meter_s_over_the_frames(written: Written) -> None:
    engine, _ = written
    seconds = itertools.count()
    # The meter's own clock: one second between entering its block and reading it, idle and running.
    meter = FakeMeter(3000.0, clock=lambda: float(next(seconds)))
    energy = measure_energy(engine, frames_of(), None, meter, window_s=0.01)
    assert energy.frames > 0 and energy.rails == ("fake",) and energy.window_s >= 0.01
    assert energy.energy_j_per_frame == pytest.approx(3.0 / energy.frames)
    assert energy.idle_energy_j_per_frame == pytest.approx(3.0 / 0.01 * energy.window_s / energy.frames)
    assert energy.to_json()["meter"] == "fake power meter"


def test_nothing_to_measure_is_refused(written: Written) -> None:
    engine, folder = written
    with pytest.raises(UsageError, match="no frames"):
        measure_latency(engine, [], None, runs=1, warmup=0)
    with pytest.raises(UsageError, match="0 runs"):
        compare_uncut(engine, folder / "uncut.tflite", frames_of(), runs=0, warmup=0)
    with pytest.raises(InputError, match=r"gone\.tflite"):
        compare_uncut(engine, folder / "gone.tflite", frames_of(), runs=1, warmup=0)


def test_the_machine_is_named(written: Written) -> None:
    engine, _ = written
    machine = Machine.here(engine.model.backend)
    assert machine.processor and machine.architecture and machine.cores >= 1
    assert engine.model.backend.version in str(machine)
    assert machine.to_json()["numpy"] == np.__version__
