"""Compares the delegate with Larq Compute Engine's interpreter: ``make binary-oracle``.

    python -m tests.runtime.delegate --python PYTHON [--networks 1000] [--litert FOLDER]

PYTHON is that of an environment with larq-compute-engine 0.16. Every network is drawn at random, answered there by the
reference kernels, and here on every set of kernels that this processor runs and by every interpreter. int8 and packed
outputs have to be equal, floats within 3e-5 of the larger of 1 and the largest value.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.delegate.library import KERNELS, available_kernels
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from tests.runtime.conftest import BACKENDS
from tests.runtime.delegate.binary_cases import drawn, inputs_of, model_of

TOLERANCE = 3e-5


def write_networks(folder: Path, count: int, first: int) -> None:
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        case = drawn(rng, is_known_to_lce=True)
        path = folder / f"{number}.tflite"
        path.write_bytes(model_of(case))
        np.save(path.with_suffix(".x.npy"), inputs_of(case, rng))


def off(y: Array, wanted: Array) -> float:
    """How far, as a share of the larger of 1 and the largest value; infinite for other bits or int8, and no number."""
    if np.array_equal(y, wanted):
        return 0.0
    if y.dtype != np.float32:
        return math.inf
    share = float(np.abs(y - wanted).max() / max(1.0, np.abs(wanted).max()))
    return math.inf if math.isnan(share) else share


def judge(folder: Path, backends: Iterable[InterpreterName]) -> int:
    """Print how many answers are right, for each interpreter and set of kernels, and return how many are not."""
    bad = 0
    paths = sorted(folder.glob("*.tflite"))
    for backend in backends:
        for kernels in available_kernels():
            os.environ[KERNELS] = kernels
            shares = []
            for number, path in enumerate(paths):
                x, wanted = np.load(path.with_suffix(".x.npy")), np.load(path.with_suffix(".y.npz"))["arr_0"]
                model = TfliteModel(path.read_bytes(), backend, 1 + number % 3)
                shares.append(off(model.subgraph("serve", {"x": x}).outputs["y"], wanted))
            exact, wrong = shares.count(0.0), sum(share > TOLERANCE for share in shares)
            close = len(shares) - exact - wrong
            worst = max((share for share in shares if math.isfinite(share)), default=0.0)
            bad += wrong
            print(
                f"{load_backend(backend)}, {kernels}: {len(paths)} networks, {exact} equal, {close} floats within "
                f"{worst:.1e}, {wrong} wrong",
                flush=True,
            )
    return bad


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--litert", type=Path, action="append", default=[], help="a folder with another ai-edge-litert")
    parser.add_argument("--answered", type=Path, help="networks with their answers, for ai-edge-litert alone")
    arguments = parser.parse_args()
    if arguments.answered is not None:
        return judge(arguments.answered, ["litert"]) > 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_networks(folder, arguments.networks, arguments.first)
        script = Path(__file__).with_name("lce_answers.py")
        subprocess.run([arguments.python, str(script), name], check=True)
        bad = judge(folder, BACKENDS)
        for other in arguments.litert:
            command = [sys.executable, "-m", "tests.runtime.delegate", "--answered", name]
            environment = {**os.environ, "PYTHONPATH": str(other.resolve())}
            bad += subprocess.run(command, env=environment, check=False).returncode != 0
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
