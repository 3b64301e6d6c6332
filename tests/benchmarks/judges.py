"""Packages with a pipeline of their own as judges of ours: their answers, and how many of them our bundles give.

``python -m tests.benchmarks judges NAME --fit FOLDER --judged FOLDER [--keep FOLDER]``: opt-in: it needs the packages
(``nudenet``, ``rapidocr-onnxruntime``), and pictures for those that do not draw their own. What is judged has to be
disjoint from what is fitted on. Bundles are built by the command, as a user builds them, with the settings that stand
in the judge. Nothing of a package is kept in the repository.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from multigraft.agreement.binomial import lower_bound
from multigraft.runtime import Engine
from multigraft.runtime.result import Result
from multigraft.tensors.arrays import Array

CONFIDENCE = 0.95
PRECISIONS = ("float32", "int8")


@dataclass(frozen=True)
class Count:
    """Of ``of`` answers of the package, ``right`` are ours too."""

    what: str
    right: int
    of: int

    def __str__(self) -> str:
        risk = (1 - CONFIDENCE) / 2
        low = lower_bound(self.right, self.of, 1 - risk) if self.of else 0.0
        high = 1 - lower_bound(self.of - self.right, self.of, 1 - risk) if self.of else 1.0
        share = self.right / max(self.of, 1)
        return f"{self.what:52}{self.right:6} of {self.of:6}{share:9.2%}  {low:.2%} to {high:.2%}"


class Judge(Protocol):
    """A package, and the settings a user would write for its networks."""

    packages: tuple[str, ...]

    def pictures(self, fit: Path | None, judged: Path | None) -> tuple[Path | list[Array], list[Array]]:
        """What is fitted on (a folder, or pictures) and what is judged, disjoint; pictures are RGB, uint8."""

    def prepare(self, folder: Path) -> None:
        """Write beside the settings what they need."""

    def settings(self, precision: str) -> str:
        """A multigraft.toml whose frames are ``fit/``."""

    def theirs(self, pictures: Sequence[Array]) -> list[Any]:
        """What the package says of each, as plain data."""

    def counts(self, theirs: Sequence[Any], ours: Sequence[Result]) -> list[Count]:
        """How many of its answers are ours."""


def _judges() -> Mapping[str, Judge]:
    from tests.benchmarks import judge_of_boxes, judge_of_text

    return {"nudenet": judge_of_boxes.NudeNet(), "rapidocr": judge_of_text.RapidOcr()}


def run(arguments: Sequence[str]) -> None:
    """Ask the judges that the command line names, or all, and print what they say."""
    judges = _judges()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks judges")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(judges)}; all by default")
    parser.add_argument("--fit", type=Path, help="pictures that builds see")
    parser.add_argument("--judged", type=Path, help="other pictures")
    parser.add_argument("--keep", type=Path, help="folder that keeps bundles and the packages' answers")
    parser.add_argument("--precision", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options = parser.parse_args(arguments)
    for name in options.names or judges:
        judge = judges[name]
        lacking = [package for package in judge.packages if not _is_there(package)]
        if lacking:
            print(f"{name}: skipped, {', '.join(lacking)} cannot be imported")
            continue
        with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as place:
            folder = (options.keep / name) if options.keep else Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                _ask(name, judge, folder, options)
            except _LackingError as reason:
                print(f"{name}: skipped, {reason}")


class _LackingError(Exception):
    """What a judge needs is not there."""


def _is_there(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _ask(name: str, judge: Judge, folder: Path, options: argparse.Namespace) -> None:
    try:
        fit, judged = judge.pictures(options.fit, options.judged)
    except ValueError as error:
        raise _LackingError(str(error)) from None
    judge.prepare(folder)
    write_pictures(fit, folder / "fit")
    answers = folder / "theirs.json"
    if not answers.is_file():
        answers.write_text(json.dumps(judge.theirs(judged)))
    theirs = json.loads(answers.read_text())
    print(f"{name}: {len(judged)} pictures; intervals of {CONFIDENCE:.0%}, answers taken as independent")
    for precision in options.precision:
        bundle = built(folder, judge.settings(precision), precision)
        engine = Engine(bundle)
        ours, times = [], []
        for picture in judged:
            start = time.perf_counter()
            ours.append(engine.run(picture))
            times.append(time.perf_counter() - start)
        for count in judge.counts(theirs, ours):
            print(f"  {precision:8}{count}", flush=True)
        print(f"  {precision:8}{'all of a picture, median ms':52}{statistics.median(times) * 1e3:6.1f}", flush=True)


def write_pictures(pictures: Path | list[Array], folder: Path) -> None:
    """As PNG files of ``folder``, or as a link to the folder they lie in."""
    from PIL import Image

    if folder.exists():
        return
    if isinstance(pictures, Path):
        folder.symlink_to(pictures.resolve(), target_is_directory=True)
        return
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:04d}.png")


def read_pictures(folder: Path | None) -> list[Array]:
    """RGB, in the order of their names.

    Raises:
        ValueError: There are none.
    """
    import numpy as np
    from PIL import Image

    files = [] if folder is None else sorted(f for f in folder.iterdir() if f.suffix.lower() in (".png", ".jpg"))
    if not files:
        raise ValueError("it needs pictures: --fit FOLDER and --judged FOLDER")
    return [np.asarray(Image.open(f).convert("RGB")) for f in files]


def built(folder: Path, settings: str, precision: str) -> Path:
    """The bundle that ``multigraft build`` makes of the settings; one that is there is not built again."""
    bundle, file = folder / f"{precision}.graft", folder / f"{precision}.toml"
    if bundle.is_file() and file.is_file() and file.read_text() == settings:
        return bundle
    missed = bundle.with_name(f"{precision}.missed.graft")
    bundle.unlink(missing_ok=True)
    missed.unlink(missing_ok=True)
    file.write_text(settings)
    command = [sys.executable, "-m", "multigraft", "build", str(file), "--allow-miss", "-o", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (folder / f"{precision}.log").write_text(done.stdout + done.stderr)
    if missed.is_file() and not bundle.is_file():
        missed.rename(bundle)
    if not bundle.is_file():
        raise _LackingError(f"the build ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return bundle
