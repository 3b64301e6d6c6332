"""Frames on which no sign depends on rounding: those that two right implementations answer alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, relative_error
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.network.closeness import TOLERANCE
from multigraft.tensors.arrays import Array


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


def depends_on_rounding(
    before: onnx.ModelProto, after: onnx.ModelProto, outputs: Sequence[str], feeds: Sequence[Arrays]
) -> str:
    """A sentence where the networks before and after a rewriting of signs differ on some frames; empty otherwise."""
    runners = [OnnxRunner(model, outputs) for model in (before, after)]
    answers = ([runner(feed) for runner in runners] for feed in feeds)
    differing = sum(any(relative_error(b[n], a[n]) > TOLERANCE for n in outputs) for a, b in answers)
    if not differing:
        return ""
    return (
        f"on {differing} of {len(feeds)} frames the answers hang on the rounding of sums near 0, which bits compute "
        "exactly: there they differ from those of the network as it is written"
    )


def _margin(value: Array) -> float:
    """The least distance from 0, of the usual one; what is exactly 0 is so everywhere."""
    sizes = np.abs(value[value != 0])
    return float(sizes.min() / sizes.mean()) if sizes.size else 1.0
