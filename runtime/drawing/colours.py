"""Colours that colour-blind people can tell apart, and a scale that everybody reads the same way.

Classes: the palette of Okabe and Ito, without its black, which lines have as their casing (M. Okabe, K. Ito, "Color
Universal Design", 2008, https://jfly.uni-koeln.de/color/). Numbers: samples of cividis, whose lightness rises evenly
and which looks the same with and without red-green blindness (J. Nuñez, C. Anderton, R. Renslow, PLoS ONE 13(7), 2018).
"""

from __future__ import annotations

import numpy as np

from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preprocessing import Frame

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
_SCALE = np.array(
    [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116],
     [195, 179, 105], [225, 204, 85], [254, 232, 56]],
    np.float64,
)  # fmt: skip
NOTHING: Colour = (128, 0, 32)
"""Where a map holds no number; no colour of the scale is near."""


def colour_of(number: int) -> Colour:
    """Of a class; they come again after as many as the palette has."""
    return PALETTE[number % len(PALETTE)]


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has more contrast on ``colour`` (relative luminance of WCAG 2)."""
    linear = [v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > 0.179 else WHITE


def coloured(shares: Float32Array) -> Frame:
    """Shares 0..1 (height, width) of the scale as RGB; NaN as :data:`NOTHING`."""
    is_number = np.isfinite(shares)
    steps = np.rint(np.clip(np.where(is_number, shares, 0), 0, 1) * 255).astype(np.uint8)
    at = np.linspace(0, len(_SCALE) - 1, 256)
    table = np.stack([np.interp(at, range(len(_SCALE)), channel) for channel in _SCALE.T], axis=1)
    pixels: Frame = np.rint(table).astype(np.uint8)[steps]
    pixels[~is_number] = NOTHING
    return pixels
