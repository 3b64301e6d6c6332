"""A camera without hardware: a moving pattern that depends on nothing but its settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.errors import UsageError
from multigraft.tensors.preprocessing import Frame


class FakeCamera(SourceWithoutDevice):
    """Camera adapter: a drifting gradient with a bright square that walks over it, and noise.

    Frame ``i`` is a function of ``i`` and the arguments alone, on every machine.

    Args:
        height: Rows of a frame.
        width: Columns of a frame.
        color: Whether frames are RGB; otherwise grey.
        seed: Seed of the noise and the pattern's phase.
        frames: Number of frames; None for a camera that never ends.
    """

    def __init__(
        self, height: int = 96, width: int = 96, color: bool = True, seed: int = 0, frames: int | None = None
    ) -> None:
        if height < 1 or width < 1 or seed < 0 or (frames is not None and frames < 1):
            raise UsageError(
                f"a fake camera of {width} x {height} pixels, seed {seed} and {frames} frames",
                "give positive numbers",
            )
        self._height, self._width, self._color, self._seed, self._frames = height, width, color, seed, frames

    @property
    def name(self) -> str:
        return f"fake camera {self._width}x{self._height}, seed {self._seed}"

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while self._frames is None or number < self._frames:
            yield self.frame(number)
            number += 1

    def frame(self, number: int) -> Frame:
        """Frame ``number``, counted from 0: uint8, HxWx3 or HxW."""
        rows, columns = np.arange(self._height)[:, None], np.arange(self._width)[None, :]
        drift = 3 * number + 17 * self._seed
        channels = [
            (rows * (c + 1) * 255 // self._height + columns * (3 - c) * 255 // self._width + drift) % 192
            for c in range(3 if self._color else 1)
        ]
        image = np.stack(channels, axis=-1)
        side = max(1, min(self._height, self._width) // 4)
        top = (2 * number + 5 * self._seed) % max(1, self._height - side + 1)
        left = (3 * number + 11 * self._seed) % max(1, self._width - side + 1)
        image[top : top + side, left : left + side] = 224
        noise = np.random.default_rng((self._seed, number)).integers(0, 32, image.shape)
        frame: Frame = (image + noise).astype(np.uint8)
        return frame if self._color else frame[:, :, 0]
