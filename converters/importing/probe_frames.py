"""Frames to compare two versions of a network on: like a camera's, whatever their size.

Random pixels average out: whatever pools over them hardly moves from one to the next, so that rounding is all there is
to compare. A camera's frames are smooth with edges, and bright or dark.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COUNT = 3

_BRIGHTNESS, _CONTRAST = (70, 190, 128), (50, 45, 110)
"""Of each frame: mean and half of the span, in pixel values."""

_NOISE = 6
"""Of the sensor, half of its span."""


def probe_frames(height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """:data:`COUNT` frames, uint8, (:data:`COUNT`, height, width, channels); the same ones every time."""
    rng = np.random.default_rng(0)
    frames = []
    for brightness, contrast in zip(_BRIGHTNESS, _CONTRAST, strict=True):
        rows, columns = (
            np.linspace(0, 1, n).reshape(shape) for n, shape in ((height, (-1, 1, 1)), (width, (1, -1, 1)))
        )
        turns, phases = rng.uniform(0.4, 1.6, (2, channels)), rng.uniform(0, 2 * np.pi, (2, channels))
        scene = np.sin(2 * np.pi * turns[0] * rows + phases[0]) * np.cos(2 * np.pi * turns[1] * columns + phases[1])
        top, left = rng.uniform(0.1, 0.5, 2)
        is_object = (rows > top) & (rows < top + 0.4) & (columns > left) & (columns < left + 0.4)
        scene = np.where(is_object, rng.uniform(-1, 1, channels), scene)
        pixels = brightness + contrast * scene + rng.uniform(-_NOISE, _NOISE, scene.shape)
        frames.append(pixels.clip(0, 255).astype(np.uint8))
    return np.stack(frames)
