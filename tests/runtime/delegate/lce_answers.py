"""Answers of Larq Compute Engine's own interpreter, for every network in a folder: all outputs, NAME.y.npz.

Runs in an environment that has larq-compute-engine and none of ours: PYTHON lce_answers.py FOLDER. The wrapper is
loaded alone, because the package itself imports TensorFlow.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

NAME = "interpreter_wrapper_lite"


def wrapper() -> Any:
    found = importlib.util.find_spec("larq_compute_engine")
    assert found is not None and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "tflite" / "python" / f"{NAME}.so"
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder: Path) -> None:
    lce = wrapper()
    for path in sorted(folder.glob("*.tflite")):
        x = np.load(path.with_suffix(".x.npy"))
        # Threads, reference kernels, indirect kernels, XNNPACK.
        outputs = lce.LiteInterpreter(path.read_bytes(), 1, True, False, False).predict([x])
        np.savez(path.with_suffix(".y.npz"), *outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
