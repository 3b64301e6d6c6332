"""How precise weights and activations may be; read for a command's help, so it needs no numpy."""

from __future__ import annotations

from typing import Literal

Precision = Literal["int8", "int4", "dynamic", "float32"]
PRECISIONS: dict[Precision, str] = {
    "int8": "8-bit weights (per channel) and 8-bit activations",
    "int4": "as int8, with 4-bit weights in all full convolutions but those that read the frame",
    "dynamic": "8-bit weights, activations quantised while running; inputs and outputs stay float32",
    "float32": "nothing is quantised",
}

STATIC: tuple[Precision, ...] = ("int8", "int4")
"""Precisions that need ranges of activations."""
