"""Runs whole networks that Larq Compute Engine's converter made, beside its own interpreter: ``make binary-zoo``.

    python -m tests.runtime.delegate.zoo --python PYTHON [--litert FOLDER] [--network NAME] [--keep FOLDER]

PYTHON is that of an environment with larq-compute-engine 0.16, larq-zoo and TensorFlow. Every binary operator reads
what it read there, and has to write the same: bits and int8 equal, floats within 3e-5 of the larger of 1 and the
largest value. What the networks answer as a whole is printed, and not judged: their other layers are the interpreter's
own, round otherwise, and a value that crosses 0 turns a sign for all that follows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigraft.converters.conversion.interpreters import tapped
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.delegate.library import KERNELS, available_kernels
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op
from multigraft.tflite.operators import BINARY
from multigraft.tflite.tflite_file import read, write
from tests.runtime.conftest import BACKENDS
from tests.runtime.delegate.__main__ import TOLERANCE, off

NETWORKS = (
    "QuickNetSmall", "QuickNet", "QuickNetLarge", "BiRealNet", "RealToBinaryNet", "BinaryDenseNet28",
    "BinaryDenseNet37", "BinaryDenseNet37Dilated", "BinaryDenseNet45", "BinaryResNetE18", "MeliusNet22",
    "BinaryAlexNet", "XNORNet", "DoReFaNet",
)  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """A network, and what Larq Compute Engine's interpreter computed with it.

    Attributes:
        path: Of the file.
        graph: The network.
        x: Its input.
        answer: Its output.
        values: What its binary operators read and write, by tensor.
    """

    path: Path
    graph: Graph
    x: Array
    answer: Array
    values: dict[str, Array]

    @classmethod
    def of(cls, path: Path) -> Answered:
        graph = read(path.read_bytes()).main
        answers = np.load(path.with_suffix(".y.npz")), np.load(path.with_suffix(".tapped.y.npz"))
        values = {name: answers[1][f"arr_{i}"] for i, name in enumerate(_tapped(graph))}
        return cls(path, graph, np.load(path.with_suffix(".x.npy")), answers[0]["arr_0"], values)

    @property
    def ops(self) -> list[Op]:
        return [op for op in self.graph.ops if op.custom_code in BINARY]


def _tapped(graph: Graph) -> tuple[str, ...]:
    """What binary operators read and write, but for the network's input."""
    ops = [op for op in graph.ops if op.custom_code in BINARY]
    return tuple(dict.fromkeys(name for op in ops for name in (op.inputs[0], *op.outputs)))


def made(folder: Path, python: str, networks: list[str]) -> list[str]:
    """Convert what is not in the folder yet, and let Larq Compute Engine's interpreter answer it.

    Returns:
        The networks that its converter took; it crashes at some.
    """
    here = Path(__file__).parent
    for name in networks:
        if not (folder / f"{name}.int8.x.npy").exists():
            command = [python, str(here / "lce_zoo.py"), str(folder), name]
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            if ended.returncode != 0:
                print(f"{name}: the converter ended with {ended.returncode}", flush=True)
    for path in [path for path in folder.glob("*.tflite") if ".tapped" not in path.name]:
        graph = read(path.read_bytes()).main
        path.with_suffix(".tapped.tflite").write_bytes(tapped(graph, _tapped(graph)))
        shutil.copyfile(path.with_suffix(".x.npy"), path.with_suffix(".tapped.x.npy"))
    subprocess.run([python, str(here / "lce_answers.py"), str(folder)], check=True)
    return [name for name in networks if (folder / f"{name}.int8.y.npz").exists()]


def _alone(graph: Graph, op: Op) -> bytes:
    """One operator as a file."""
    tensors = [graph.tensors[name] for name in (*op.inputs, *op.outputs) if name]
    return write(Model((Graph.of("main", op.inputs[:1], op.outputs, [op], tensors),)))


def _run(model: bytes, x: Array, backend: InterpreterName, has_xnnpack: bool = True) -> Array:
    whole = TfliteModel(model, backend)
    subgraph = whole.subgraph() if has_xnnpack else whole.without_delegates().subgraph(whole.signatures[0])
    ((given,), (output,)) = (list(arrays.values()) for arrays in (subgraph.inputs, subgraph.outputs))
    given[...] = x
    subgraph.invoke()
    return output.copy()


def judge(folder: Path, networks: list[str], backends: tuple[InterpreterName, ...]) -> int:
    """Print a line for every network, interpreter and set of kernels; how many operators are wrong."""
    bad = 0
    for path in [folder / f"{name}.{kind}.tflite" for name in networks for kind in ("float", "int8")]:
        network = Answered.of(path)
        alone = [(op.inputs[0], op.outputs[0], _alone(network.graph, op)) for op in network.ops]
        for backend in backends:
            for kernels in available_kernels():
                os.environ[KERNELS] = kernels
                shares = [
                    off(_run(file, network.values[source], backend), network.values[target])
                    for source, target, file in alone
                ]
                wrong = sum(share > TOLERANCE for share in shares)
                bad += wrong
                close = max((share for share in shares if share <= TOLERANCE), default=0.0)
                wholes = [
                    _said(_run(path.read_bytes(), network.x, backend, has), network.answer) for has in (True, False)
                ]
                print(
                    f"{path.stem} on {load_backend(backend)}, {kernels}: {len(shares)} operators, "
                    f"{shares.count(0.0)} equal, floats within {close:.1e}, {wrong} wrong; the whole: {wholes[0]}; "
                    f"without XNNPACK: {wholes[1]}",
                    flush=True,
                )
    return bad


def _said(y: Array, wanted: Array) -> str:
    """How far a network's answers are."""
    far = np.abs(y.astype(np.float64) - wanted).max() / (float(np.ptp(wanted.astype(np.float64))) or 1.0)
    return f"{np.mean(y == wanted):.1%} equal, {far:.1e} of the range"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="this one only; may be repeated")
    parser.add_argument("--litert", type=Path, action="append", default=[], help="a folder with another ai-edge-litert")
    parser.add_argument("--keep", type=Path, help="a folder for the files, which are not made again")
    parser.add_argument("--answered", action="store_true", help="what is kept is answered, for ai-edge-litert alone")
    options = parser.parse_args()
    networks = options.network or list(NETWORKS)
    if options.answered:
        return judge(options.keep, networks, ("litert",)) > 0
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        networks = made(folder, options.python, networks)
        bad = judge(folder, networks, BACKENDS)
        for other in options.litert:
            asked = [word for network in networks for word in ("--network", network)]
            command = [sys.executable, "-m", "tests.runtime.delegate.zoo", "--answered", "--keep", str(folder), *asked]
            environment = {**os.environ, "PYTHONPATH": str(other.resolve())}
            bad += subprocess.run(command, env=environment, check=False).returncode != 0
    # Where the converter took none, nothing was judged.
    return bad > 0 or not networks


if __name__ == "__main__":
    sys.exit(main())
