"""Mutants of .tflite files: through the check, those that pass through both interpreters, and all through firmware."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from multigraft.cli.main import main
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.tflite.checking.check import check_tflite
from tests.attack.campaigns import Campaign
from tests.attack.interpreters import run
from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.tflite_mutants import TfliteMutator
from tests.attack.tflite_seeds import seeds
from tests.attack.trials import Row
from tests.attack.workers import Worker
from tests.firmware_gen.operators.test_operators import MODELS

BOARD = "mps2-an386"
BACKENDS: tuple[InterpreterName, ...] = ("litert", "tflite-runtime")


def models(paths: list[Path]) -> dict[str, bytes]:
    """Name to content; without paths those that the tests build."""
    if paths:
        return {path.name: path.read_bytes() for path in paths}
    return seeds() | {f"operator {name}": make() for name, make in MODELS.items()}


def interpreters(
    files: dict[str, bytes],
    mutants: int,
    seed: int,
    unchecked: bool = False,
    keep: Path | None = None,
    mutator: Callable[[bytes, int], Mutator] = TfliteMutator,
) -> Iterator[Row]:
    """The check, then both interpreters without it.

    Args:
        files: Good models.
        mutants: How many.
        seed: Of all of them.
        unchecked: Give the interpreters what the check refuses, too: what the check is for.
        keep: A folder for those that ended badly.
        mutator: Makes them.
    """
    for backend in BACKENDS:
        load_backend(backend)
    runs = {"check": check_tflite_file} | {b: functools.partial(run, backend=b) for b in BACKENDS}
    rows = {place: Row("tflite check" if place == "check" else f"tflite in {place}") for place in runs}
    made = Campaign("tflite", mutants, files, mutator, check_tflite_file).made(mutants, seed)
    with contextlib.ExitStack() as stack:
        workers = {place: stack.enter_context(Worker(opened)) for place, opened in runs.items()}
        for number, (model, mutant) in enumerate(made):
            for place, worker in workers.items():
                end, cause = worker.tried(mutant)
                rows[place].add(end)
                if keep is not None and end.is_bad:
                    keep.mkdir(parents=True, exist_ok=True)
                    kept = f"{model}-{number}-{place}-{end.kind}.tflite".replace(" ", "-")
                    (keep / kept).write_bytes(cause)
                if place == "check" and end.kind != "passed" and not unchecked:
                    break
    yield from rows.values()


def check_tflite_file(data: bytes) -> None:
    """Check a mutant."""
    check_tflite(data, "the mutant")


def firmware(files: dict[str, bytes], mutants: int) -> Campaign:
    """Every mutant through ``multigraft firmware``, as far as a whole project."""

    def made(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as name:
            path, folder = Path(name) / "mutant.tflite", Path(name) / "fw"
            path.write_bytes(data)
            main(["firmware", str(path), "-o", str(folder), "--board", BOARD])
            json.loads((folder / "project.json").read_bytes())

    return Campaign("firmware", mutants, files, TfliteMutator, made)
