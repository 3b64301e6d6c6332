"""Runs a model on an emulated processor, with a getppid before and after each run.

    python3 counted_runs.py MODEL TIMES LIBRARY

``LIBRARY`` is the delegate of binary operators, or ``none``. Imports the interpreter and numpy alone.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate


def main(model: str, times: int, library: str) -> None:
    delegates = [] if library == "none" else [load_delegate(library, {"kernels": "neon"})]
    interpreter = Interpreter(model_path=model, num_threads=1, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(1)
    for about in interpreter.get_input_details():
        shape, dtype = about["shape"], about["dtype"]
        drawn = rng.normal(0, 1, shape) if dtype == np.float32 else rng.integers(-128, 128, shape)
        interpreter.set_tensor(about["index"], drawn.astype(dtype))
    interpreter.invoke()
    for _ in range(times):
        os.getppid()
        interpreter.invoke()
        os.getppid()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
