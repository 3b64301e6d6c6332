"""Ranges of activations: measured on frames one at a time, or given, for instance from a Statistics file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.quantising.value_counts import Counts, counts, least_error_range
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


@dataclass(frozen=True)
class Observed:
    """What float activations were over frames.

    Attributes:
        ranges: Smallest and largest value by tensor.
        narrow: The same, where tensors within the graph have the range of least error in 8 bits.
    """

    ranges: Ranges
    narrow: Ranges

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The tensors whose two ranges differ."""
        return tuple(n for n in self.ranges if self.narrow[n] != self.ranges[n])


def measure(graph: Graph, feeds: Iterable[Arrays], known: Mapping[str, Range] | None = None) -> Ranges:
    """The range of every float activation over ``feeds``; those in ``known`` are taken as they are.

    Args:
        graph: Float32.
        feeds: Values of the graph's inputs.
        known: Ranges that need no measuring.
    """
    return observe(graph, feeds, known, narrows=False).ranges


def observe(
    graph: Graph, feeds: Iterable[Arrays], known: Mapping[str, Range] | None = None, *, narrows: bool = True
) -> Observed:
    """As :func:`measure`, with narrower ranges beside it, unless they are not wanted.

    Only few feeds and their activations are in memory at a time. A tensor is read by making it an output:
    ``preserve_all_tensors`` changes what the interpreter shows. What the graph reads and answers keeps its range.
    """
    ranges = {n: r for n, r in (known or {}).items() if n in graph.tensors}
    open_names = [n for n in activations(graph) if n not in ranges]
    if not open_names:
        return Observed(ranges, ranges)
    computed = [n for n in open_names if n not in graph.inputs]
    inner = [n for n in computed if n not in _with_whole_range(graph)] if narrows else []

    def observer() -> Callable[[Arrays], tuple[Ranges, list[Counts]]]:
        taps = Taps(graph, computed or graph.outputs)

        def seen(feed: Arrays) -> tuple[Ranges, list[Counts]]:
            values = {**feed, **taps(feed)}
            ends = {n: (float(values[n].min()), float(values[n].max())) for n in open_names}
            for name, bounds in ends.items():
                if not all(map(math.isfinite, bounds)):
                    raise ConversionError(f"tensor {name!r} becomes infinite or NaN on a frame", "check the network")
            return ends, [counts(values[n]) for n in inner]

        return seen

    counted: list[Counts] = []
    for ends, more in over_frames(observer, feeds):
        for name, (low, high) in ends.items():
            before = ranges.get(name, (low, high))
            ranges[name] = min(low, before[0]), max(high, before[1])
        if counted:
            for old, new in zip(counted, more, strict=True):
                old += new
        else:
            counted = more
    narrow = {n: least_error_range(c, *ranges[n]) for n, c in zip(inner, counted, strict=False)}
    return Observed(ranges, _passed_on(graph, ranges | narrow, computed))


def _with_whole_range(graph: Graph) -> set[str]:
    """What the graph answers, also before it is only moved, and what operators write that only move values."""
    passing = {n: op for op in graph.ops if op.name in PASSES_VALUES for n in op.outputs}
    whole, answers = set(passing), list(graph.outputs)
    while answers:
        name = answers.pop()
        whole.add(name)
        if name in passing:
            answers.append(passing[name].inputs[0])
    return whole


def _passed_on(graph: Graph, ranges: Ranges, free: Collection[str]) -> Ranges:
    """``ranges`` where operators that only move values write, within ``free``, no more than they read."""
    narrow = dict(ranges)
    for op in graph.ops:
        source = narrow.get(op.inputs[0]) if op.inputs and op.name in PASSES_VALUES else None
        for name in op.outputs:
            if source is not None and name in narrow and name in free:
                low, high = narrow[name]
                narrow[name] = max(low, min(source[0], 0.0)), min(high, max(source[1], 0.0))
    return narrow


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
