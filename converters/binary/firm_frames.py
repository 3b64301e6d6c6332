"""Frames on which no sign depends on rounding: those that two right implementations answer alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.interpreters import Arrays


def firmest(model: onnx.ModelProto, steps: Sequence[str], feeds: Sequence[Arrays], count: int) -> list[Arrays]:
    """The ``count`` of ``feeds`` that keep farthest from the steps, in their order.

    Args:
        model: With rewritten signs.
        steps: Tensors whose sign is taken.
        feeds: Values of its inputs.
        count: How many are wanted.
    """
    if len(feeds) <= count or not steps:
        return list(feeds)
    runner = OnnxRunner(model, steps)
    margins = [min(_margin(value) for value in runner(feed).values()) for feed in feeds]
    chosen = sorted(np.argsort(margins)[::-1][:count])
    return [feeds[int(i)] for i in chosen]


def _margin(value: np.ndarray) -> float:
    """The least distance from 0, of the usual one; what is exactly 0 is so everywhere."""
    sizes = np.abs(value[value != 0])
    return float(sizes.min() / sizes.mean()) if sizes.size else 1.0
