"""Names that a taps bundle and the collector that runs it agree on."""

from __future__ import annotations

PAIRS = "stitches"
"""Of a taps bundle's provenance: the pairs of taps whose channels' products are summed."""

RANGES_SIGNATURE = "ranges_"
"""With a number behind it: a signature of a taps bundle's model that returns tensors between the taps."""

RESIDENT = "_resident"
"""Ends such a signature if it is small enough to stay in memory."""
