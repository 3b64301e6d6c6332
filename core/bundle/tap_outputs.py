"""Names that a taps bundle and the collector that runs it agree on."""

from __future__ import annotations

TAP_PAIRS = "stitches"
"""Key in a taps bundle's provenance: the pairs of taps whose channels' products are summed."""

RANGES_SIGNATURE = "ranges_"
"""Begins the name of a signature that returns tensors between the taps; a number follows."""

RESIDENT = "_resident"
"""Ends the name of such a signature if it is small enough to stay in memory."""
