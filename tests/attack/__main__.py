"""``make attack``: mutants of .tflite files through the check, those that pass through both interpreters; a table.

Then mutants of bundles and statistics, most with digests that fit, through whatever opens them.

python -m tests.attack [--mutants N] [--archives N] [--unchecked] [MODEL.tflite ...]
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

from multigraft.errors import InputError
from multigraft.runtime.backends import load_backend
from multigraft.tflite.checking.check import check_tflite
from tests.attack import boards
from tests.attack.archives import count, opens
from tests.attack.interpreters import run_in_child
from tests.attack.tflite_mutants import Mutator
from tests.attack.tflite_seeds import seeds
from tests.firmware_gen.operators.test_operators import MODELS


def models(paths: list[Path]) -> dict[str, bytes]:
    """Name to content; without paths those that the tests build."""
    if paths:
        return {path.name: path.read_bytes() for path in paths}
    return seeds() | {f"operator {name}": make() for name, make in MODELS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--archives", type=int, default=5_000, help="mutants of bundles and statistics")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--unchecked", action="store_true", help="give every mutant to the interpreters: what the check is for"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that crashed")
    options = parser.parse_args()
    chosen = models(options.models)
    counts: dict[str, collections.Counter[str]] = {}
    details: collections.Counter[str] = collections.Counter()
    seconds, size, slowest, peak = 0.0, 0, 0.0, 0
    for name in ("litert", "tflite-runtime"):
        load_backend(name)
    for number, (name, data) in enumerate(chosen.items()):
        mutator = Mutator(data, options.seed + number)
        for made in range(-(-options.mutants // len(chosen))):
            mutant = mutator.mutant()
            start = time.perf_counter()
            try:
                check_tflite(mutant, "mutant")
                verdict = "passed"
            except InputError:
                verdict = "refused"
            except Exception as error:
                verdict = "traceback"
                details[f"check: {type(error).__name__}: {error}"] += 1
            taken = time.perf_counter() - start
            seconds, size, slowest = seconds + taken, size + len(mutant), max(slowest, taken)
            counts.setdefault("check", collections.Counter())[verdict] += 1
            if verdict != "passed" and not options.unchecked:
                continue
            for backend in ("litert", "tflite-runtime"):
                end = run_in_child(mutant, backend, checked=False)
                counts.setdefault(backend, collections.Counter())[end.kind] += 1
                peak = max(peak, end.peak_kib)
                if end.kind in ("crash", "hang", "traceback"):
                    details[f"{backend}: {end.kind} {end.detail}"] += 1
                    if options.keep:
                        options.keep.mkdir(exist_ok=True)
                        (options.keep / f"{name}-{made}-{backend}-{end.kind}.tflite").write_bytes(mutant)
    columns = ("passed", "refused", "ran", "traceback", "crash", "hang")
    print(f"{'':16}" + "".join(f"{column:>11}" for column in columns))
    for row, counted in counts.items():
        print(f"{row:16}" + "".join(f"{counted[column]:11}" for column in columns))
    print(f"check: {1000 * seconds / (size / 2**20):.1f} ms per MiB, slowest {1000 * slowest:.1f} ms")
    print(f"largest child: {peak >> 10} MiB")
    for text, times in details.most_common(40):
        print(f"{times:6} {text}")
    bad = sum(counted[kind] for counted in counts.values() for kind in ("crash", "hang", "traceback"))
    bad += _archives(options.archives, options.seed)
    bad += boards.campaign(seed=options.seed)
    return int(bad > 0)


def _archives(mutants: int, seed: int) -> int:
    """Prints how mutants of bundles and statistics end; returns how many ended badly."""
    bad = 0
    print(f"{'':16}{'opened':>11}{'refused':>11}{'other':>11}")
    with tempfile.TemporaryDirectory() as folder:
        kinds = opens(Path(folder))
        for name, (data, opened) in kinds.items():
            ends = count(data, opened, mutants // len(kinds), seed)
            others = {end: times for end, times in ends.items() if end not in ("opened", "refused")}
            print(f"{name:16}{ends['opened']:11}{ends['refused']:11}{sum(others.values()):11}")
            for end, times in others.items():
                print(f"{times:6} {end}")
            bad += sum(others.values())
    return bad


if __name__ == "__main__":
    sys.exit(main())
