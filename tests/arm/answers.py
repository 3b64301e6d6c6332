"""The same bundles on two machines: made and answered on this one, answered again on the other.

    python -m tests.arm.answers make FOLDER [BUNDLE.graft...]
    python -m tests.arm.answers compare FOLDER        # one line of JSON

What is equal has to be equal to the last bit; what is not is counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.errors import MissingDependencyError
from multigraft.npz import read_npz
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.engine import Engine
from multigraft.runtime.self_test import read_golden
from multigraft.tensors.arrays import Array
from tests.bundle_builder import build, npz

CASES = 16
INTERPRETERS: tuple[InterpreterName, ...] = ("litert", "tflite-runtime")


def make(folder: Path, further: list[Path]) -> None:
    """Write bundles made in code, and further ones, each with random inputs and this machine's answers."""
    heads: tuple[tuple[str, Kind], ...] = (("garment", "classification"), ("map", "segmentation"))
    kinds = {
        "int8": build(heads),
        "int8-colour": build(size=(96, 96, 3), width=24),
        "float32": build(float32=True),
    }
    bundles = {name: built.bundle for name, built in kinds.items()}
    bundles |= {path.stem: Bundle.open(path) for path in further}
    random = np.random.default_rng(5)
    for name, bundle in bundles.items():
        bundle.write(folder / f"{name}.graft")
        inputs = read_golden(bundle)[0]
        # Pictures first, where the bundle has some, and noise after them.
        drawn = {tensor: np.concatenate([array, _like(array, random)]) for tensor, array in inputs.items()}
        (folder / f"{name}.inputs.npz").write_bytes(npz(drawn))
        for interpreter in INTERPRETERS:
            (folder / f"{name}.{interpreter}.npz").write_bytes(npz(_answers(bundle, interpreter, drawn)))


def compare(folder: Path) -> dict[str, Any]:
    """Bundle, then interpreter, to how its answers here differ from those that were written."""
    seen: dict[str, Any] = {}
    for path in sorted(folder.glob("*.graft")):
        inputs = read_npz((folder / f"{path.stem}.inputs.npz").read_bytes())
        for interpreter in INTERPRETERS:
            try:
                backend = load_backend(interpreter)
            except MissingDependencyError:
                continue
            here = _answers(Bundle.open(path), interpreter, inputs)
            there = read_npz((folder / f"{path.stem}.{interpreter}.npz").read_bytes())
            engine = Engine(path, backend=interpreter)
            seen.setdefault(path.stem, {})[str(backend)] = {
                **_difference(engine.manifest.tasks, here, there),
                "self_test": str(engine.self_test),
                "delegate": engine.model.has_delegate(),
                "fallback": engine.fallback_reason,
            }
    return seen


def _answers(bundle: Bundle, interpreter: InterpreterName, inputs: dict[str, Array]) -> dict[str, Array]:
    engine = Engine(bundle, backend=interpreter, self_test=False)
    rows: dict[str, list[Array]] = {}
    for case in range(len(next(iter(inputs.values())))):
        one = {
            name: array[case] if array[case].shape[:1] == (1,) else array[case][None] for name, array in inputs.items()
        }
        for name, array in engine.compute(one).items():
            rows.setdefault(name, []).append(array)
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def _difference(tasks: Any, here: dict[str, Array], there: dict[str, Array]) -> dict[str, Any]:
    steps, unequal, values, relative = 0, 0, 0, 0.0
    for name, array in here.items():
        apart = np.abs(array.astype(np.float64) - there[name].astype(np.float64))
        if np.issubdtype(array.dtype, np.integer):
            steps, unequal, values = max(steps, int(apart.max())), unequal + int((apart > 0).sum()), values + apart.size
        else:
            relative = max(relative, float(apart.max() / max(np.abs(there[name]).max(), 1e-30)))
    tops = [
        (_top(here[task.outputs[0]]) == _top(there[task.outputs[0]])).mean()
        for task in tasks
        if task.kind == "classification"
    ]
    return {
        "values": values,
        "unequal": unequal,
        "most_lsb": steps,
        "relative": relative,
        "same_class": float(min(tops, default=1.0)),
    }


def _top(array: Array) -> Array:
    chosen: Array = array.reshape(len(array), -1).argmax(axis=1)
    return chosen


def _like(array: Array, random: np.random.Generator) -> Array:
    shape = (CASES, *array.shape[1:])
    drawn: Array
    if array.dtype == np.float32:
        drawn = random.random(shape, np.float32) * (array.max() - array.min()) + array.min()
    else:
        information = np.iinfo(array.dtype)
        drawn = random.integers(information.min, information.max + 1, shape, array.dtype)
    return drawn


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
    else:
        print(json.dumps(compare(Path(sys.argv[2]))))
