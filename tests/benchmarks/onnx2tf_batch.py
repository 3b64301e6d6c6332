"""Converts many ONNX files in one process of onnx2tf's environment; run as a script there, never imported here.

``python onnx2tf_batch.py FOLDER...``: each folder holds ``model.onnx`` and ``kept`` (inputs that keep their shape, a
line each). It gets ``onnx2tf/model_float32.tflite``, ``status`` and ``log``. Each conversion runs in a fork, so that
what ends one ends no other.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

SECONDS = 60


def convert(folder: Path) -> None:
    """Convert ``folder/model.onnx``; does not return."""
    import signal

    signal.alarm(SECONDS)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    code = 1
    try:
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
        os._exit(code)


if __name__ == "__main__":
    import onnx2tf  # type: ignore[import-not-found]
    import onnx2tf.onnx2tf  # type: ignore[import-not-found]

    for name in sys.argv[1:]:
        if (child := os.fork()) == 0:
            convert(Path(name))
        _, status = os.waitpid(child, 0)
        (Path(name) / "status").write_text(str(status))
