"""``make fuzz-binary``: mutants of binary networks through check and interpreters, with sanitisers in the delegate.

    python -m tests.attack.sanitised [--mutants 10000] [--seed 0] [--keep FOLDER]

The delegate is compiled with AddressSanitizer and UndefinedBehaviorSanitizer, whose runtime has to be in the process
from its beginning: this module starts itself once more with it. What they find ends a try with SIGABRT, a row's
``crash``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from multigraft.runtime.delegate import library
from tests.attack import options_blocks
from tests.attack.mutants.binary_mutants import BinaryMutator, OptionsMutator
from tests.attack.tflite_campaigns import interpreters
from tests.attack.trials import HEAD, Row
from tests.runtime.delegate.binary_cases import drawn, model_of

SOURCES = Path(__file__).parents[2] / "runtime" / "delegate" / "c"
SANITISERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = ("-std=c11", "-O1", "-g", "-fPIC", "-shared", "-ffp-contract=off", "-Wno-unknown-pragmas")
OPTIONS = "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:handle_segv=0"
SEEDS = 24


def compiled(folder: Path) -> Path:
    """The delegate's library with sanitisers in it."""
    target = folder / "libmultigraft_binary.so"
    sources = sorted(map(str, SOURCES.glob("*.c")))
    subprocess.run(["gcc", *FLAGS, *SANITISERS, *sources, "-o", str(target), "-lpthread", "-lm"], check=True)
    return target


def seeds() -> dict[str, bytes]:
    """Networks of all operators, in every type and form."""
    return {f"binary {number}": model_of(drawn(np.random.default_rng(number))) for number in range(SEEDS)}


def read_options(mutants: int, seed: int, keep: Path | None = None) -> Row:
    """Damaged options through the delegate's reader of options, four for each mutant of a file."""
    with tempfile.TemporaryDirectory() as name:
        program = options_blocks.compiled(Path(name), SANITISERS)
        return options_blocks.tried(program, options_blocks.blocks(seeds().values(), 4 * mutants, seed), keep)


def run(mutants: int, seed: int, keep: Path | None = None, built: Path | None = None) -> int:
    """Run the mutants in a process of its own; the exit status: 0 where none ended badly.

    The library is compiled if ``built`` is None.
    """
    options = read_options(mutants, seed, keep)
    print(HEAD, options, sep="\n", flush=True)
    # Beside libstdc++, which has to be there first: exceptions that the interpreter throws pass through both.
    runtime = " ".join(_of_gcc(name) for name in ("libasan.so", "libstdc++.so"))
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "tests.attack.sanitised", "--mutants", str(mutants), "--seed", str(seed)]
        command += ["--library", str(built or compiled(Path(name)))] + (["--keep", str(keep)] if keep else [])
        environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": OPTIONS}
        return subprocess.run(command, env=environment, check=False).returncode or int(options.bad > 0)


def _of_gcc(name: str) -> str:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return str(Path(found.stdout.strip()).resolve())


def _run_inside(mutants: int, seed: int, keep: Path | None, compiled: Path) -> int:
    library.__file__ = str(compiled.with_name("library.py"))
    assert library.library_path() == compiled and library.available_kernels()
    bad = 0
    for row in interpreters(seeds(), mutants, seed, keep=keep, mutator=BinaryMutator):
        print(row, flush=True)
        bad += row.bad
    # What the check refuses never gets to the delegate's own reader of options, which looks once more.
    print("Options alone, which the delegate gets whatever the check says:")
    unchecked = keep / "options" if keep else None
    for row in interpreters(seeds(), mutants // 4, seed, unchecked=True, keep=unchecked, mutator=OptionsMutator):
        print(row, flush=True)
        bad += row.bad
    return int(bad > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that ended badly")
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library is not None:
        return _run_inside(options.mutants, options.seed, options.keep, options.library)
    return run(options.mutants, options.seed, options.keep)


if __name__ == "__main__":
    sys.exit(main())
