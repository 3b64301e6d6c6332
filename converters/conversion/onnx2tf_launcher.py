"""Starts onnx2tf inside its own environment; run as a script there, never imported here.

``python onnx2tf_launcher.py PARENT ARGUMENTS...``: PARENT is the process to die with, ARGUMENTS are onnx2tf's.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) on Linux that chooses a signal for when the parent dies, however that dies."""


def die_with(parent: int) -> None:
    """End with the process ``parent``, also if it is killed, and at once if it is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)))
    runpy.run_module("onnx2tf", run_name="__main__", alter_sys=True)
