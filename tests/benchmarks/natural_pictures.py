"""Synthetic pictures with the statistics of photographs: a 1/f amplitude spectrum, channels that mostly agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def natural_pictures(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    """``count`` pictures (count, height, width[, channels]), 0..255; without the last axis for one channel.

    Source of the spectrum: Field, J. Opt. Soc. Am. A 4, 1987.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    shape = (count, channels, *amplitude.shape)
    spectrum = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * amplitude
    values = np.fft.irfft2(spectrum, (height, width))
    values = 0.7 * values[:, :1] + 0.3 * values
    values /= values.std(axis=(1, 2, 3), keepdims=True)
    brightness = rng.uniform(0.3, 0.6, (count, 1, 1, 1))
    pictures = (255 * np.clip(brightness + 0.22 * values, 0, 1)).round().astype(np.uint8)
    return pictures[:, 0] if channels == 1 else pictures.transpose(0, 2, 3, 1)
