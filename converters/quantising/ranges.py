"""Ranges of activations: measured on frames one at a time, or given, for instance from a Statistics file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph

Range = tuple[float, float]
"""Smallest and largest value."""

Ranges = dict[str, Range]


class MissingRangesError(ConversionError):
    """Static int8 lacks the ranges of some tensors."""


PASSES_VALUES = frozenset(
    {
        "PAD",
        "PADV2",
        "RESHAPE",
        "TRANSPOSE",
        "SQUEEZE",
        "EXPAND_DIMS",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "MEAN",
        "SLICE",
        "STRIDED_SLICE",
        "SPLIT",
        "GATHER",
        "RESIZE_NEAREST_NEIGHBOR",
        "RESIZE_BILINEAR",
        "SPACE_TO_DEPTH",
        "DEPTH_TO_SPACE",
        "RELU",
        "RELU6",
        "MIRROR_PAD",
        "TILE",
    }
)
"""Operators whose results lie within the range of their first input and zero."""


def activations(graph: Graph) -> list[str]:
    """The float tensors that are computed or fed."""
    computed = [name for op in graph.ops for name in op.outputs]
    return [n for n in (*graph.inputs, *computed) if graph.tensors[n].dtype == "float32"]


def measure(graph: Graph, feeds: Iterable[Arrays], known: Mapping[str, Range] | None = None) -> Ranges:
    """The range of every float activation over ``feeds``; those in ``known`` are taken as they are.

    Only one feed and its activations are in memory at a time. A tensor is read by making it an output:
    ``preserve_all_tensors`` changes what the interpreter shows.

    Args:
        graph: Float32.
        feeds: Values of the graph's inputs.
        known: Ranges that need no measuring.
    """
    ranges = {n: r for n, r in (known or {}).items() if n in graph.tensors}
    open_names = [n for n in activations(graph) if n not in ranges]
    if not open_names:
        return ranges
    computed = [n for n in open_names if n not in graph.inputs]
    taps = Taps(graph, computed or graph.outputs)
    for feed in feeds:
        values = {**feed, **taps(feed)}
        for name in open_names:
            low, high = float(values[name].min()), float(values[name].max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ConversionError(f"tensor {name!r} becomes infinite or NaN on a frame", "check the network")
            before = ranges.get(name, (low, high))
            ranges[name] = min(low, before[0]), max(high, before[1])
    return ranges


def complete(graph: Graph, ranges: Mapping[str, Range]) -> Ranges:
    """``ranges`` with those added that follow from them through operators that only move or average values.

    Raises:
        ConversionError: A tensor has no range; the message names the first.
    """
    full = dict(ranges)
    for op in graph.ops:
        source = full.get(op.inputs[0]) if op.inputs else None
        if source is not None and op.name in PASSES_VALUES:
            for name in op.outputs:
                full.setdefault(name, (min(source[0], 0.0), max(source[1], 0.0)))
    missing = [n for n in activations(graph) if n not in full]
    if missing:
        raise MissingRangesError(
            f"{len(missing)} tensors have no range, the first is {missing[0]!r}",
            "give frames, or ranges for all tensors",
        )
    return full
