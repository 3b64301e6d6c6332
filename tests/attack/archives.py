"""Opens mutants of bundles and statistics in forked processes, and counts how they end."""

from __future__ import annotations

import collections
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.errors import MultigraftError
from multigraft.runtime import Engine
from multigraft.statistics import statistics_file
from tests.attack.archive_mutants import ArchiveMutator
from tests.bundle_builder import build
from tests.core.statistics.test_statistics_file import DATA as STATISTICS

SECONDS = 20


def opens(folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """What is mutated, by name, and how a mutant is opened; ``folder`` is written to."""
    heads = (("s", "segmentation"), ("g", "classification"), ("o", "other"))
    plain, varied = build().bundle, build(heads).bundle  # type: ignore[arg-type]
    path = folder / "mutant.graft"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        Engine(Bundle.open(path)).run(np.zeros((40, 30, 3), np.uint8)).to_json()

    return {
        "bundle": (plain.write(folder / "plain.graft").read_bytes(), run),
        "varied bundle": (varied.write(folder / "varied.graft").read_bytes(), run),
        "statistics": (STATISTICS, lambda data: statistics_file.from_bytes(data, "the mutant")),
    }


def count(data: bytes, opened: Callable[[bytes], object], mutants: int, seed: int) -> collections.Counter[str]:
    """How so many mutants end: ``opened``, ``refused``, or what went wrong."""
    mutator = ArchiveMutator(data, seed)
    ends: collections.Counter[str] = collections.Counter()
    for _ in range(mutants):
        ends[_end(mutator.mutant(), opened)] += 1
    return ends


def _end(mutant: bytes, opened: Callable[[bytes], object]) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writing, _opened(mutant, opened).encode(errors="replace")[:400])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return f"crash {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else said


def _opened(mutant: bytes, opened: Callable[[bytes], object]) -> str:
    try:
        opened(mutant)
    except MultigraftError:
        return "refused"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"traceback {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    return "opened"
