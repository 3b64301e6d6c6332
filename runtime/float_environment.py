"""How a thread computes with floats: rounding, and whether numbers too small for a full mantissa become 0.

A library that was compiled with ``-ffast-math`` sets the latter for the thread that loads it, and for those that
it starts. tflite-runtime 2.14 does on aarch64 (https://simonbyrne.github.io/notes/fastmath/).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_MOST_BYTES = 256
"""No C library's fenv_t takes more: 32 bytes with glibc on x86-64, 8 on aarch64."""


@contextlib.contextmanager
def float_environment_kept() -> Iterator[None]:
    """Leave this thread's floats as they were, whatever the block loads; where C has no such call nothing is done."""
    try:
        library = ctypes.CDLL(None)
        read, write = library.fegetenv, library.fesetenv
    except (OSError, TypeError, AttributeError):
        yield
        return
    before = (ctypes.c_longdouble * (_MOST_BYTES // ctypes.sizeof(ctypes.c_longdouble)))()
    read(before)
    try:
        yield
    finally:
        write(before)
