"""The commands that are killed, each on small real networks, and what of their results has to be equal."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import onnx

from multigraft.files import sha256_of
from multigraft.statistics import statistics_file
from tests.bundle_builder import build
from tests.calibration.networks import SIZE, taps_bundle
from tests.converters.graft.networks import frames, perturbed, residual_network

SETTINGS = """
frames = "frames.npy"
[bundle]
name = "pair"
[budget]
min_agreement = 0.9
[graft]
fit_frames = 200
share = { second = "block" }
"""
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
preprocessing = {{ size = [8, 8], color = "grey" }}
"""
FRAMES = 400

Result = dict[str, str]
"""What was made, by name; equal runs give equal texts."""


class Job(ABC):
    """One command, run in a folder of its own."""

    argv: tuple[str, ...]

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Write what it reads."""

    def result(self, folder: Path, given: set[str]) -> Result:
        """Digest of every file that it wrote.

        Args:
            folder: Where it ran.
            given: Names of the files that :meth:`prepare` wrote.
        """
        return {name: sha256_of((folder / name).read_bytes()) for name in files_in(folder) - given}


class Graft(Job):
    """The first half of a build, with its checkpoints."""

    argv = ("graft", "multigraft.toml", "-o", "pair.onnx")

    def prepare(self, folder: Path) -> None:
        first = residual_network("first", 1)
        onnx.save(first.model, folder / "first.onnx")
        onnx.save(perturbed(first, "second", 0.002).model, folder / "second.onnx")
        np.save(folder / "frames.npy", np.stack(frames(FRAMES)))
        text = SETTINGS + "".join(TASK.format(name=name) for name in ("first", "second"))
        (folder / "multigraft.toml").write_text(text, "utf-8")


class Build(Graft):
    """All of it, onnx2tf's processes included."""

    argv = ("build", "multigraft.toml", "-o", "home.graft")


class Collect(Job):
    """A collector that goes on where its store ends."""

    argv = (
        "calibrate", "collect", "home.mgtaps", "--source", "frames.npy", "--minibatch", "8", "--minimum-frames", "8",
        "--keep-frames", "6", "-o", "site.mgstats",
    )  # fmt: skip

    def prepare(self, folder: Path) -> None:
        taps_bundle().write(folder / "home.mgtaps")
        rng = np.random.default_rng(0)
        np.save(folder / "frames.npy", rng.integers(0, 256, (5 * FRAMES, SIZE, SIZE), np.uint8))

    def result(self, folder: Path, given: set[str]) -> Result:
        """A store has a name by chance and remembers how long it took: what it released is compared without them."""
        made = super().result(folder, given)
        released = statistics_file.read(folder / "site.mgstats")
        (release,) = released.releases.values()
        released.releases = {}
        content = {"site.mgstats": sha256_of(statistics_file.to_bytes(released)), "frames": str(release.frames)}
        kept = sorted(digest for name, digest in made.items() if name.endswith(".pgm"))
        rest = {name: "" for name in made if not name.endswith((".pgm", ".mgstats"))}
        return rest | content | {"kept frames": " ".join(kept)}


class Firmware(Job):
    """A C project."""

    argv = ("firmware", "home.graft", "-o", "fw", "--board", "pico")

    def prepare(self, folder: Path) -> None:
        built = build((("garment", "classification"), ("digit", "classification")))
        dataclasses.replace(built).bundle.write(folder / "home.graft")


JOBS: dict[str, Job] = {"build": Build(), "collect": Collect(), "graft": Graft(), "firmware": Firmware()}


def files_in(folder: Path) -> set[str]:
    """Names of all files in a folder and below, and of empty folders."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() or not any(path.iterdir())
    }  # fmt: skip
