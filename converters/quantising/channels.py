"""What the channels of a float graph's tensors do over frames; the last axis holds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.tflite.graph import Graph

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Channel:
    """Per channel of one tensor.

    Attributes:
        span: Largest magnitude.
        mean: Mean over positions and frames.
    """

    span: Vector
    mean: Vector


def measure_channels(graph: Graph, names: Collection[str], feeds: Iterable[Arrays]) -> dict[str, Channel]:
    """Spans and means of ``names`` over ``feeds``; empty without feeds.

    Args:
        graph: Float32.
        names: Activations or inputs of it.
        feeds: Values of the graph's inputs, one entry per frame; one is in memory at a time.
    """
    computed = [n for n in names if n not in graph.inputs]
    taps = Taps(graph, computed) if computed else None
    spans: dict[str, Vector] = {}
    sums: dict[str, Vector] = {}
    count = 0
    for feed in feeds:
        values = {**feed, **(taps(feed) if taps else {})}
        count += 1
        for name in names:
            rows = values[name].reshape(-1, values[name].shape[-1]).astype(np.float64)
            span = np.abs(rows).max(0)
            spans[name] = np.maximum(spans.get(name, span), span)
            sums[name] = sums.get(name, 0.0) + rows.mean(0)
    return {n: Channel(spans[n], sums[n] / count) for n in spans}
