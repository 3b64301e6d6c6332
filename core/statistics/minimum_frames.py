"""How few frames a number may sum over; read for a command's help, so it needs no numpy."""

from __future__ import annotations

MINIMUM_FRAMES = 32
"""Default for the fewest frames that any number in a file sums over."""
