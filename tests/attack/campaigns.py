"""What is attacked: mutants of every kind of file that travels, and what opens each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.statistics import statistics_file
from multigraft.statistics.combining import combine_files
from tests.attack import refit_files
from tests.attack.fuzzing import frame_decoder, settings_reader
from tests.attack.mutants.archive_mutants import ArchiveMutator
from tests.attack.mutants.frame_mutants import FrameMutator
from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.refit_mutants import RefitMutator
from tests.attack.mutants.settings_mutants import SettingsMutator
from tests.attack.mutants.store_mutants import StoreMutator
from tests.attack.trials import Row, apart, tried
from tests.bundle_builder import build
from tests.calibration.samples import SUBJECT, minibatch
from tests.core.statistics.test_statistics_file import DATA as STATISTICS


@dataclass(frozen=True)
class Campaign:
    """One kind of file.

    Attributes:
        name: Of the kind.
        mutants: How many of it ``make attack`` makes.
        seeds: Good files, by name.
        mutator: Of a file and a seed.
        opened: Opens a mutant, in a process that was forked.
    """

    name: str
    mutants: int
    seeds: dict[str, bytes]
    mutator: Callable[[bytes, int], Mutator]
    opened: Callable[[bytes], object]

    def made(self, mutants: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
        """So many mutants, dealt out over the seeds, each with the name of its seed."""
        mutators = [(name, self.mutator(data, seed + i)) for i, (name, data) in enumerate(self.seeds.items())]
        for number in range(mutants):
            name, mutator = mutators[number % len(mutators)]
            yield name, mutator.mutant()

    def run(self, mutants: int | None = None, seed: int = 0, keep: Path | None = None) -> Row:
        """Try them; those that ended badly go into ``keep``."""
        row = Row(self.name)
        for number, (name, data) in enumerate(self.made(self.mutants if mutants is None else mutants, seed)):
            bad = row.bad
            row.add(tried(lambda data=data: self.opened(data)))  # type: ignore[misc]
            if keep is not None and row.bad > bad:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{self.name}-{number}-{name}".replace(" ", "-").replace("/", "-")).write_bytes(data)
        return row


def settings(folder: Path) -> Campaign:
    """``multigraft.toml``."""
    return Campaign("settings", 2000, settings_reader.seeds(), SettingsMutator, settings_reader.run)


def frames(folder: Path) -> Campaign:
    """Pictures, arrays and sounds."""
    return Campaign("frames", 2000, frame_decoder.seeds(), FrameMutator, frame_decoder.run)


def bundles(folder: Path) -> Campaign:
    """Bundles with digests that fit: opened, tested and run."""
    heads = (("s", "segmentation"), ("g", "classification"), ("o", "other"))
    made = {"plain": build().bundle, "varied": build(heads).bundle}  # type: ignore[arg-type]
    path = folder / "mutant.graft"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        Engine(Bundle.open(path)).run(np.zeros((40, 30, 3), np.uint8)).to_json()

    seeds = {name: bundle.write(folder / f"{name}.graft").read_bytes() for name, bundle in made.items()}
    return Campaign("bundles", 2500, seeds, ArchiveMutator, run)


def statistics(folder: Path) -> Campaign:
    """Statistics, with digests that fit: combined, shown, and what a build asks of them."""
    path, good = folder / "mutant.mgstats", folder / "good.mgstats"
    read = statistics_file.from_bytes(STATISTICS, "the seed")
    good.write_bytes(statistics_file.to_bytes(read + read))

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read = statistics_file.read(path)
        read.ranges(99.0)
        read.precision()
        for tap in read.subject.taps:
            read.channel_moments(tap.name)
            read.cross_moments(tap.name, tap.name)
        combine_files([path, good])
        statistics_file.write(read, folder / "again.mgstats")
        main(["calibrate", "report", str(path), "-o", str(folder / "report.html")])

    return Campaign("statistics", 1000, {"": STATISTICS}, ArchiveMutator, run)


def stores(folder: Path) -> Campaign:
    """A collector's store."""
    path = folder / "good"
    with Store(path, SUBJECT, 8) as store:
        for number in range(5):
            store.append(minibatch(number), ("a", "d"), Cursor(frames_read=number))
            if number in (1, 3):
                store.advance(1)
                store.checkpoint()

    def run(data: bytes) -> None:
        mutant = folder / "mutant"
        mutant.write_bytes(data)
        with Store(mutant, SUBJECT, 8) as store:
            store.precision()
            store.advance(1)
            statistics_file.to_bytes(store.statistics)

    return Campaign("stores", 500, {"": path.read_bytes()}, StoreMutator, run)


def refits(folder: Path) -> Campaign:
    """Files of solved weights, as a build takes them."""
    return Campaign("refits", 500, refit_files.solved(folder), RefitMutator, refit_files.opened(folder))


def refit_stores(folder: Path) -> Campaign:
    """The store of a refit, on the device."""
    return Campaign("refit stores", 500, refit_files.stored(folder), StoreMutator, refit_files.resumed(folder))


def refit_plans(folder: Path) -> Campaign:
    """Plans for a device, with digests that fit: opened, and the refit begun."""
    return Campaign("refit plans", 500, refit_files.planned(folder), ArchiveMutator, refit_files.begun(folder))


def onnx_files(folder: Path, graphs: int = 60) -> Campaign:
    """ONNX files through ``multigraft check``, and the reader that a build has."""
    from tests.attack import onnx_campaign, onnx_seeds
    from tests.attack.mutants.onnx_mutants import OnnxMutator

    return Campaign("onnx", 2000, apart(lambda: onnx_seeds.seeds(graphs)), OnnxMutator, onnx_campaign.opened(folder))


CAMPAIGNS: dict[str, Callable[[Path], Campaign]] = {
    "bundles": bundles, "statistics": statistics, "stores": stores, "refits": refits, "refit-stores": refit_stores,
    "refit-plans": refit_plans, "onnx": onnx_files, "settings": settings, "frames": frames,
}  # fmt: skip
