"""How precise weights and activations may be; read for a command's help, so it needs no numpy."""

from __future__ import annotations

from typing import Literal

Precision = Literal["int8", "int4", "dynamic", "float32", "binary", "binary-int8"]
PRECISIONS: dict[Precision, str] = {
    "int8": "8-bit weights (per channel) and 8-bit activations",
    "int4": "as int8, with 4-bit weights in all full convolutions but those that read the frame",
    "dynamic": "8-bit weights, activations quantised while running; inputs and outputs stay float32",
    "float32": "nothing is quantised",
    "binary": "layers trained with weights and activations of -s and s as bits, all others float32: nothing is lost",
    "binary-int8": "as binary, with all others as in int8",
}

AROUND_BINARY: dict[Precision, Precision] = {"binary": "float32", "binary-int8": "int8"}
"""How everything but the binary layers is computed."""

STATIC: tuple[Precision, ...] = ("int8", "int4")
"""Precisions that need ranges of activations."""
