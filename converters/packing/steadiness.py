"""Frames on which a network's answer stands for what it computes, and not for how its sums are rounded.

Attention and gates may amplify the rounding of a sum by millions (saturated softmaxes, random weights). On such a frame
two right implementations differ by a quarter of the range. onnxruntime alone tells: its answer moves as much when every
value of the input moves to the next number that float32 has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, relative_error
from multigraft.converters.conversion.interpreters import Arrays

STEADY = 2.5e-4
"""Largest move of an output, of its range. Measured on LeViT and MobileNetV4 with random weights: a conversion differs
by at most four times of this move where all is right."""


def steady(model: onnx.ModelProto, outputs: Sequence[str], feeds: Sequence[Arrays]) -> list[Arrays]:
    """Those of ``feeds`` (values of the ONNX inputs) that rounding does not decide; all of them if there are none."""
    kept = [f for f, move in zip(feeds, moves(model, outputs, feeds), strict=True) if move <= STEADY]
    return kept or list(feeds)


def moves(model: onnx.ModelProto, outputs: Sequence[str], feeds: Sequence[Arrays]) -> list[float]:
    """By how much of its range an output moves in onnxruntime with the last bit of the input: the most, by feed."""
    runner, rng = OnnxRunner(model, outputs), np.random.default_rng(0)
    found = []
    for feed in feeds:
        answer = runner(feed)
        # Pooling averages out what moves here and there, and a difference of neighbours what moves all together.
        signs = ({n: rng.choice([-1, 1], v.shape) for n, v in feed.items()}, {n: np.sign(v) for n, v in feed.items()})
        others = [runner({n: _nudged(v, sign[n]) for n, v in feed.items()}) for sign in signs]
        found.append(max(relative_error(other[n], answer[n]) for other in others for n in outputs))
    return found


def _nudged(value: npt.NDArray[Any], sign: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Every float moved to the neighbour on that side."""
    if value.dtype != np.float32:
        return value
    return np.nextafter(value, np.where(sign < 0, -np.inf, np.inf).astype(np.float32))
