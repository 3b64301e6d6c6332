"""The .tflite files that mutants are made of where none is named."""

from __future__ import annotations

from tests.bundle_builder import build


def seeds() -> dict[str, bytes]:
    """Name to content: a bundle's model in int8 and in float32, and a whole network."""
    built = build()
    return {"bundle": built.bundle.model, "uncut": built.uncut, "float32": build(float32=True).bundle.model}
