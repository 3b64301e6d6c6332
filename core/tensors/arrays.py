"""Names for types of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""An array of any element type."""

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

Arrays = Mapping[str, Array]
"""Arrays by name."""
