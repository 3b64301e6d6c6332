"""What collecting statistics costs over bare inference of the same networks: time, interleaved, and peak memory.

Time is that of whole blocks of frames, in turn through the collector (with its store on disk, its checkpoints and its
files) and through the networks alone (preprocessing and invokes): CPU time of the process, user and system, and wall
time. Start and end of a run are left out. Memory is the peak resident set of fresh processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.defaults import MINIBATCH
from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.field.taps_bundle import make_taps_bundle
from multigraft.converters.importing.importer import load_task
from multigraft.converters.settings.settings import Settings
from multigraft.converters.similarity.representations import union_of
from multigraft.statistics.similarity import SimilaritySums
from tests.benchmarks.demo_networks import SETTINGS
from tests.benchmarks.large_pair import TOML, mobilenet_v2

Frames = list[npt.NDArray[np.uint8]]

DEMO_FRAMES, PAIR_FRAMES = 16640, 1152
"""Frames timed: of the demo enough to pass two checkpoints, of the pair what a minute allows. The first minibatch warms
up and does not count."""

PAIR_DISTINCT = 256
MEMORY_FRAMES = 320
_ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
"""As the command line sets it for collecting."""


class Interleaved:
    """A camera whose frames also run through the networks alone, a block behind.

    Attributes:
        times: Per block: seconds collecting (CPU, wall) and seconds of bare inference (CPU, wall).
    """

    name = "interleaved"

    def __init__(self, frames: Frames, count: int, bare: TapsRunner) -> None:
        self._frames, self._count, self._bare = frames, count, bare
        self.times: list[tuple[float, float, float, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for start in range(0, self._count, MINIBATCH):
            block = [self._frames[i % len(self._frames)] for i in range(start, start + MINIBATCH)]
            began = time.process_time(), time.perf_counter()
            yield from block
            between = time.process_time(), time.perf_counter()
            for frame in block:
                self._bare.run(frame)
            ended = time.process_time(), time.perf_counter()
            self.times.append(
                (between[0] - began[0], between[1] - began[1], ended[0] - between[0], ended[1] - between[1])
            )


def show(folder: Path) -> None:
    """Print time of both pairs of networks, accuracy of the demo's CKA, memory of the large pair."""
    demo_taps(folder)
    pair_taps(folder)
    subprocess.run([sys.executable, "-m", "tests.benchmarks.collect_cost", str(folder)], check=True, env=_ENVIRONMENT)
    _show_memory(folder / "pair.graft", folder)


def measure(folder: Path) -> None:
    """The part of :func:`show` that needs a process whose BLAS has one thread."""
    counts = {"demo": DEMO_FRAMES, "pair": PAIR_FRAMES}
    names = {"demo": "the demo's three", "pair": "two of MobileNetV2's size"}
    frames = {name: list(np.load(folder / f"{name}.npy")) for name in counts}
    print_table(
        "Time of collecting over bare inference of the tapped networks, one thread",
        [
            "networks", "frames", "bare, CPU per frame", "collecting", "ratio: all blocks", "median block",
            "middle half of blocks", "all blocks, wall time",
        ],
        [_timed(names[n], folder / f"{n}.graft", frames[n], count, folder) for n, count in counts.items()],
    )  # fmt: skip
    print(_accuracy(folder / "demo.graft", frames["demo"]))


def demo_taps(folder: Path) -> None:
    """Write the demo's taps bundle, and all its unlabeled frames, shuffled."""
    settings = Settings.load(SETTINGS)
    frames = {str(p): load_frames(p) for t in settings.tasks if (p := settings.frames_of(t)) is not None}
    union = union_of(frames)
    order = np.random.default_rng(0).permutation(len(union))
    np.save(folder / "demo.npy", np.stack([union[i] for i in order]))
    _prepare(settings, "demo", folder)


def pair_taps(folder: Path) -> None:
    """Write the taps bundle of two networks of MobileNetV2's size, and random frames."""
    for seed, name in enumerate(("first", "second")):
        onnx.save(mobilenet_v2(seed), folder / f"{name}.onnx")
    coarse = np.random.default_rng(0).integers(0, 256, (PAIR_DISTINCT, 14, 14, 3), np.uint8)
    np.save(folder / "pair.npy", coarse.repeat(16, 1).repeat(16, 2))
    (folder / "multigraft.toml").write_text(TOML.format(point="block13").replace("frames.npy", "pair.npy"))
    _prepare(Settings.load(folder / "multigraft.toml"), "pair", folder)


def _prepare(settings: Settings, name: str, folder: Path) -> None:
    work = folder / f"{name}-work"
    work.mkdir()
    networks = [load_task(task, settings.path.parent) for task in settings.tasks]
    make_taps_bundle(networks, name, work).write(folder / f"{name}.graft")


def _timed(name: str, taps: Path, frames: Frames, count: int, folder: Path) -> list[str]:
    bundle = Bundle.open(taps)
    camera = Interleaved(frames, count, TapsRunner(bundle))
    collect(bundle, camera, folder / f"{taps.stem}.mgstats", CollectOptions())
    # The first block warms up.
    times = np.array(camera.times[1:])
    cpu, wall, bare_cpu, bare_wall = times.sum(axis=0)
    low, middle, high = np.percentile(times[:, 0] / times[:, 2], [25, 50, 75])
    per_frame = 1e3 / (len(times) * MINIBATCH)
    return [
        name, f"{len(times) * MINIBATCH:,}", f"{bare_cpu * per_frame:.3f} ms", f"{cpu * per_frame:.3f} ms",
        f"{cpu / bare_cpu:.3f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{wall / bare_wall:.3f}",
    ]  # fmt: skip


def _accuracy(taps: Path, frames: Frames) -> str:
    """How far the CKA of the stream is from that of all frames in one batch."""
    from multigraft.calibration.collect.sampler import Sampler
    from multigraft.statistics.statistics import Statistics

    model = TapsRunner(Bundle.open(taps))
    sampler = Sampler(model, site="benchmark")
    stream = Statistics(sampler.subject)
    rows = {tap.name: np.empty((len(frames), tap.features), np.float32) for tap in model.taps}
    for number, frame in enumerate(frames):
        minibatch = sampler.add(frame)
        for tap in model.taps:
            rows[tap.name][number] = model.arrays[tap.name].reshape(-1)
        if minibatch is not None:
            stream.add(minibatch, ("benchmark", "2026-01-01"))
    whole = SimilaritySums([tap.name for tap in model.taps])
    whole.add(rows.pop(tap.name) for tap in model.taps)
    difference = np.abs(stream.similarity().unbiased_cka() - whole.unbiased_cka())
    pairs = len(difference) * (len(difference) - 1) // 2
    return (
        f"CKA of the stream against one batch of all {len(frames):,} frames, {pairs} pairs of the demo's taps: "
        f"greatest difference {difference.max():.4f}, mean {difference.mean():.4f}.\n"
    )


_PROBES = {
    "Python": "",
    "Python, numpy and the interpreter": "import numpy, ai_edge_litert.interpreter",
    "the same, with the networks run once": (
        "import numpy\n"
        "from multigraft.bundle.bundle import Bundle\n"
        "from multigraft.runtime.engine import Engine\n"
        "engine = Engine(Bundle.open(taps), self_test=False)"
    ),
    "multigraft calibrate collect": (
        "from multigraft.cli.main import main\nmain(['calibrate', 'collect', taps, '--source', source, '-o', output])"
    ),
}
_REPORT = "\nprint('KIB', next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"


def _show_memory(taps: Path, folder: Path) -> None:
    # A camera that holds one frame: pages of a file of frames would count as memory of the process.
    source, output = f"fake:224x224,frames={MEMORY_FRAMES}", str(folder / "memory.mgstats")
    peaks = {}
    for name, code in _PROBES.items():
        preamble = f"taps, source, output = {str(taps)!r}, {source!r}, {output!r}\n"
        probe = subprocess.run(
            [sys.executable, "-c", preamble + code + _REPORT],
            capture_output=True, text=True, check=True, env=_ENVIRONMENT,
        )  # fmt: skip
        peaks[name] = int(probe.stdout.rpartition("KIB")[2]) / 1024
    most = peaks["multigraft calibrate collect"]
    rows = [
        [name, f"{peak:.0f} MiB", f"{most - peak:.0f} MiB ({(most - peak) * 2**20 / 1e6:.0f} MB)"]
        for name, peak in peaks.items()
    ]
    print_table(
        f"Peak resident memory, two networks of MobileNetV2's size, {MEMORY_FRAMES} frames of 224 x 224",
        ["process", "peak", "the collector is above it by"], rows,
    )  # fmt: skip


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
