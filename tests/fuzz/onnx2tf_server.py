"""Keeps onnx2tf loaded and converts on demand, each time in a fork; run as a script in onnx2tf's environment.

The first argument is the launcher of the product. Reads a folder a line, and a word before it: ``plain`` leaves out
what changes layouts, ``usual`` does not. The folder holds ``model.onnx`` and ``kept`` (inputs that keep their shape, a
line each), and gets ``onnx2tf/model_float32.tflite`` and ``log``. Answers each with the status of wait(2).
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

SECONDS = 60


def convert(way: str, folder: Path) -> None:
    """Convert ``folder/model.onnx``; does not return."""
    signal.alarm(SECONDS)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    code = 1
    try:
        if way == "plain":
            runpy.run_path(sys.argv[1])["leave_layout"]()
        onnx2tf.convert(
            input_onnx_file_path="model.onnx",
            output_folder_path="onnx2tf",
            non_verbose=True,
            not_use_onnxsim=True,
            keep_shape_absolutely_input_names=Path("kept").read_text().split() or None,
        )
        code = 0
    except SystemExit as error:
        code = int(error.code or 0) if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import onnx2tf  # type: ignore[import-not-found]
    import onnx2tf.onnx2tf  # type: ignore[import-not-found]

    for line in sys.stdin:
        if (child := os.fork()) == 0:
            way, folder = line.rstrip("\n").split(" ", 1)
            convert(way, Path(folder))
        _, status = os.waitpid(child, 0)
        print(status, flush=True)
