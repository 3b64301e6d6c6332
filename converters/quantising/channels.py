"""What the channels of a float graph's tensors do over frames; the last axis holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.job.over_frames import over_frames
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
        feeds: Values of the graph's inputs, one entry per frame; few are in memory at a time.
    """
    computed = [n for n in names if n not in graph.inputs]

    def measurer() -> Callable[[Arrays], dict[str, Channel]]:
        taps = Taps(graph, computed) if computed else None

        def of(feed: Arrays) -> dict[str, Channel]:
            values = {**feed, **(taps(feed) if taps else {})}
            return {n: _channel(values[n]) for n in names}

        return of

    spans: dict[str, Vector] = {}
    sums: dict[str, Vector] = {}
    count = 0
    for seen in over_frames(measurer, feeds):
        count += 1
        for name, channel in seen.items():
            spans[name] = np.maximum(spans.get(name, channel.span), channel.span)
            sums[name] = sums.get(name, 0.0) + channel.mean
    return {n: Channel(spans[n], sums[n] / count) for n in spans}


def _channel(value: npt.NDArray[Any]) -> Channel:
    rows = value.reshape(-1, value.shape[-1])
    span = np.maximum(rows.max(0), -rows.min(0))
    return Channel(span.astype(np.float64), rows.mean(0, dtype=np.float64))
