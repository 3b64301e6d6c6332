"""Groups of operators that stay float together where the answers of a detector, decoded, differ too often.

One by one such layers hardly help: the arithmetic that decodes boxes loses as much by its last operator as by its
first, and the noise of the first layers, whose values are far apart, reaches all others. What is left of it comes from
everywhere in small parts, most of it by rounding values, not weights. So from the first layers on, more and more keep
their 8-bit weights and compute float values with them, which interpreters do by quantising what a layer reads anew for
each frame. That takes no more bytes, and a fraction of the time of float layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from multigraft.converters.quantising.improve import Quantised
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import op_macs

FIRST_SHARES = (0.025, 0.05, 0.1)
"""Shares of the multiply-accumulates that the first layers, kept in float together, may have; tried in turn."""

NEXT_SHARES = (0.2, 0.4, 0.7, 1.0)
"""Shares up to which layers then compute float values with 8-bit weights; tried in turn."""

LEAST_GAIN = 0.005
"""Agreement that more of the first layers have to gain: less is not worth their time."""

LEAST_GAIN_PER_SHARE = 0.1
"""Agreement that more of the first layers have to gain by the share of all multiply-accumulates that they have, unless
it is enough then: 0.02 for a fifth of the network, which in float takes about as long as all of it in integers."""

LEAST_GAIN_PER_NEXT_SHARE = 0.03
"""The same for float values beside 8-bit weights, which take about a quarter of that time more than integers."""

SAME = 0.03
"""Agreements that differ by no more are alike: two standard errors where 5 of 150 frames differ. Noise then tells,
as it does among layers with 8-bit weights where the agreement is no smaller: few frames hide what noise shows."""

LEAST_GAIN_DB = 1.0
"""What it then has to gain."""


@dataclass(frozen=True)
class Group:
    """Operators that stay float together.

    Attributes:
        name: For people.
        operators: How many.
        macs: Multiply-accumulates per frame of these.
        weights_bits: Of weights of their full convolutions and fully connected layers: 32 or 8.
    """

    name: str
    operators: int
    macs: int
    weights_bits: int = 32


@dataclass(frozen=True)
class Grouped:
    """A quantised graph with groups in float.

    Attributes:
        graph: It.
        quantised: What quantises it again: with the ranges that were chosen.
        kept: What is in float, by a tensor that is written.
        groups: The groups.
        has_whole_ranges: Whether values were given their whole ranges again, but for idle ends.
        agreement: Task to its agreement.
        tried: Graphs that were judged.
    """

    graph: Graph
    quantised: Quantised
    kept: frozenset[str]
    groups: tuple[Group, ...]
    has_whole_ranges: bool
    agreement: Mapping[str, float]
    tried: int


def with_groups(
    quantised: Quantised,
    kept: Collection[str],
    tail: Collection[str],
    judge: Callable[[Graph], Mapping[str, float]],
    shortfall: Callable[[Mapping[str, float]], float],
    quality: Callable[[Graph], float],
    before: Mapping[str, float],
) -> Grouped:
    """Keep the tail, then more and more of the first layers in float, until nothing is lacking; the best of these.

    Args:
        quantised: What to start from.
        kept: Operators that are in float anyway.
        tail: What the last layers and the arithmetic behind them write.
        judge: Measures agreement.
        shortfall: Of an agreement, what it lacks; 0 where it is enough.
        quality: Mean SQNR of a graph's outputs, dB.
        before: What ``judge`` says of ``quantised.graph``.
    """
    floating = quantised.floating
    ends = (_group("the last layers and what makes answers of them", floating, tail),) if tail else ()
    best = Grouped(quantised.graph, quantised, frozenset(kept), (), False, before, 0)
    first: tuple[str, ...] = ()
    tried, has_share, seen = 0, 0.0, set[int]()
    variants = [(quantised, False), *([(quantised.with_whole_ranges, True)] if quantised.whole is not None else [])]
    for share in (0.0, *FIRST_SHARES, *NEXT_SHARES):
        is_next, layers = share in NEXT_SHARES, first_layers(floating, share, tail) if share else ()
        if len(layers) in seen:
            continue
        seen.add(len(layers))
        next_layers = [name for name in layers if name not in (*first, *tail, *kept)] if is_next else []
        in_float = first if is_next else layers
        groups = (*ends, *([_group("the first layers", floating, in_float)] if in_float else []))
        if next_layers:
            groups += (_group("the values of layers with 8-bit weights", floating, next_layers, 8),)
        per_share = LEAST_GAIN_PER_NEXT_SHARE if is_next else LEAST_GAIN_PER_SHARE
        least = max(LEAST_GAIN, per_share * (share - has_share)) if share else 0.0
        for made, is_whole in variants:
            trial = _trial(made.with_float_values(next_layers), {*kept, *tail, *in_float}, groups, is_whole, judge)
            tried += 1
            fall = shortfall(best.agreement) - shortfall(trial.agreement)
            is_clearer = (
                is_whole == best.has_whole_ranges and quality(trial.graph) >= quality(best.graph) + LEAST_GAIN_DB
            )
            is_enough = shortfall(trial.agreement) <= 0
            is_nearer = is_clearer and fall >= (0.0 if is_next else -SAME) and (is_next or not share)
            if fall > least or is_enough or is_nearer:
                best, has_share = trial, share
                first = first if is_next else layers
            if shortfall(best.agreement) <= 0:
                return dataclasses.replace(best, tried=tried)
    return dataclasses.replace(best, tried=tried)


def first_layers(graph: Graph, share: float, ends: Collection[str] = ()) -> tuple[str, ...]:
    """What the first operators write, in running order, that have at most ``share`` of the multiply-accumulates.

    Args:
        graph: Float32.
        share: 0..1.
        ends: Tensors; with them operators that they do not depend on, those of other tasks, are left out and not
            counted.
    """
    read = _upstream(graph, ends)
    ops = [op for op in graph.ops if not ends or read.intersection(op.outputs)]
    macs = [op_macs(graph, op) for op in ops]
    left = share * sum(macs)
    found: list[str] = []
    for op, own in zip(ops, macs, strict=True):
        left -= own
        if left < 0:
            break
        found += op.outputs
    return tuple(found)


def _upstream(graph: Graph, ends: Collection[str]) -> set[str]:
    """``ends`` and all that they are computed from."""
    writers, waiting, seen = graph.producers(), list(ends), set[str]()
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            waiting += writers[name].inputs if name in writers else ()
    return seen


def _group(name: str, graph: Graph, written: Collection[str], weights_bits: int = 32) -> Group:
    ops = [op for op in graph.ops if set(op.outputs) & set(written)]
    return Group(name, len(ops), sum(op_macs(graph, op) for op in ops), weights_bits)


def _trial(
    made: Quantised,
    kept: Collection[str],
    groups: tuple[Group, ...],
    is_whole: bool,
    judge: Callable[[Graph], Mapping[str, float]],
) -> Grouped:
    graph = made.again(kept, ())
    return Grouped(graph, made, frozenset(kept), groups, is_whole, judge(graph), 1)
