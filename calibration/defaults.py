"""Numbers that a command's help tells, apart from what computes with them: help needs no numpy."""

from __future__ import annotations

MINIBATCH = 128
"""Frames per minibatch: what a power cut may cost."""

MEMORY_BYTES = 64 * 2**20
"""Bound for what is kept of the representations of a minibatch."""

FEATURES = 640
"""Features per sample; taps of at most twice as many are used whole."""

REFIT_FRAMES = 512
"""Frames that every layer is solved from."""

ACCEPTED_FRAMES = 1000
"""Frames behind those, on which agreement is measured, at most."""

VALIDATED_FRAMES = 1000
"""1,000 of 1,000 equal answers show an agreement of 0.997 at a confidence of 0.95."""
