"""Unlabeled frames as the workstation holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""One camera frame: uint8, height x width (grey), or height x width x 3 (RGB)."""

Frames = Sequence[Frame]
