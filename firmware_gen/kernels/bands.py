"""How many output rows a depthwise layer computes at a time from one channel's rows, copied out into scratch memory."""

from __future__ import annotations

from multigraft.firmware_gen.arithmetic.geometry import Window

LARGEST_PLANE = 1024
"""Bytes of scratch that a band may take where the image has more than one; what one row needs may be more."""


def band_of(over: Window, rows: int, ring: int | None) -> int:
    """Output rows of a band computed from so many ``rows``, or more if one needs more.

    Where the input is a ring of rows, they are asked for one by one.
    """
    if ring is not None:
        return 1
    most = max((rows - over.span) // over.stride_h + 1, 1)
    bands = -(-over.out_h // most)
    return -(-over.out_h // bands)


def rows_of_band(over: Window, band: int) -> int:
    """Rows of the padded image that a band is computed from."""
    return (band - 1) * over.stride_h + over.span
