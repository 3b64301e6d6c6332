"""Two small int8 convolutions to try an interpreter with: a .tflite file, its input, and what comes out of it.

Made by ``tests/runtime/doctor/test_probe.py``, which holds that this is still what its code makes.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np

from multigraft.tensors.arrays import Array

_PACKED = (
    "eNpTYGBgCHHzMQZSDCIMMgwSQFKAgYeBAyTAwALkMQDFGBg6gHgFIwPDDhBmZWBgBvKBTKBaEOCC6mEBshiALAawPgsgBiplKCjKT0qFqgfJcUDV"
    "guxgA9sCoYtTk/PzUiDqQGJ+////B9HsIDMyk0tKi1LB5skAFcwB0iUgNlRtFVQtyMxGoCWp3///74OKeQCx6k2ez9dFHi54vMDoo9mkCKlD+TcP"
    "fRfTr784T3DX9r8eF69/fmvDuLf+3gp5JsXfjJwGXewMpTedjO4oGLga/pW7f+Hl7SuRi0TFDj+Cmgny90agY7b/+f//5e///1tAjgT6AuQvmJ9y"
    "gPg908+fzN94/0k8+Xhn50Lmuw+eC0nIqtfzsi/ekVov+kdq0fO3AZcEFY3ePJhtav6Se/83pVfMxjI30wsd1PQs1rue4v0lV6D0Q5t9es+9+nda"
    "gavDNKX05nBsFfj+SnoVc6bhRZHvEsfFGU4oOZk3CrIwsIDt5Qfi3NKcksz0osS0EoWS1OIScJiKgOOKDymOWYA8iDgoHHcA8R4gPoAWb0ygNAL1"
    "0yGg/yFxzsAoAdW3BSgG4jNB1TJC45MZilmg5oHsFgGHHQ8DN9RuGahZKkBCA5w+BMAkBzDWeaByjFAzGZHMZIDyke1jhIqDomIDUEIEiDuAggaM"
    "ED/FwNLKX4gfdCDKOQ1AcQUU44DGK8ichv8QAGJzXVe2QU6fLAyINMoCdUPav///QX5zgIqBhF2AxBGouTJQddgASDyizszizkIrC264PfpJmYnF"
    "cD8eg5pvg/A/J8h8lX8Q8yVwmA8S2zqpz7rk3ERrPoTZ5amZ6RklxQj3I8fVrH+Y4dPzD3/4gOI3LbOouIQBET4cUAzit/2HuD8C4U4mUHw8gZqr"
    "gwg3ggBcNjhfMr846aC5d3SPeZbGLnMumP2QYIPHDyy9C6Ol9whEeuFMAMX/f/LcwVV40dr24gHr9+e6rR3zdlrzwt0BD2J4OmFGSb984FzIDw4j"
    "RF6wgbrJAZwLIDkAJM8DDUsRtPCH5YPGhgZr5HISPQ6Qy2seJHt5UPMUMwAHlRBl"
)

SIGNATURE, INPUT, OUTPUT = "probe", "picture", "second"

EXPECTED = (
    -22,
    -71,
    -87,
    -84,
    -56,
    -68,
    -88,
    -128,
    -9,
    2,
    -125,
    -19,
    -70,
    -32,
    -82,
    -91,
    -64,
    -38,
    -124,
    -45,
    -80,
    -39,
    -118,
    -78,
    -66,
    38,
    -77,
    -16,
    -87,
    -10,
    -128,
    -9,
)
"""The output by the reference kernels, stored values, 1 x 4 x 4 x 2."""

USUAL_LSB = 2
"""How far kernels differ from each other."""


def probe_model() -> bytes:
    """The .tflite file."""
    return zlib.decompress(base64.b64decode("".join(_PACKED)))


def probe_input() -> Array:
    """int8, 1 x 8 x 8 x 3: every value comes up."""
    return (np.arange(192) * 37 % 256 - 128).astype(np.int8).reshape(1, 8, 8, 3)
