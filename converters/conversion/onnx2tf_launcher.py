"""Starts onnx2tf inside its own environment; run as a script there, never imported here.

``python onnx2tf_launcher.py PARENT [--plain] ARGUMENTS...``: PARENT is the process to die with, ARGUMENTS are
onnx2tf's. ``--plain`` leaves out its passes that move transposes about, which change what some graphs compute.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import runpy
import signal
import sys
from typing import Any

PLAIN = "--plain"

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) on Linux that chooses a signal for when the parent dies, however that dies."""


def die_with(parent: int) -> None:
    """End with the process ``parent``, also if it is killed, and at once if it is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def leave_layout() -> None:
    """Let onnx2tf write every operator where it stands, with the transposes that it needs."""
    builder: Any = importlib.import_module("onnx2tf.tflite_builder")
    lower = functools.partial(builder.lower_onnx_to_ir, optimize_layout_transpose_chains=False)
    builder.lower_onnx_to_ir = lower


if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)))
    if sys.argv[1] == PLAIN:
        sys.argv.pop(1)
        leave_layout()
    runpy.run_module("onnx2tf", run_name="__main__", alter_sys=True)
