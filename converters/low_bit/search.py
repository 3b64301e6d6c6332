"""Chooses the layers that get few bits: by memory saved for what the answers and the time lose.

Every layer is tried alone with 4 and 2 bits. What that adds to the noise of the network's outputs, and to its time, is
set against the memory it saves, and the moves are put in order. As many of them are made as keep the agreement that is
asked for. Layers rounded by themselves, put together, give a first number by halving; solved one after the other they
answer better, and from there the number is halved again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.agreement.agreement import Agreement
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.fit import Fitting, Roundings, Solved
from multigraft.converters.low_bit.layer import Bits, Layer, with_few_bits
from multigraft.converters.low_bit.memory import memory_bytes
from multigraft.converters.low_bit.noise import Noise, mean_noise
from multigraft.converters.quantising.rescue import latency_us
from multigraft.tflite.graph import Graph

Judge = Callable[[Graph], Mapping[str, Agreement]]
"""Task to the agreement of a quantised graph with the original network."""

SOLVED = 5
"""Times that layers are solved in turn, which takes longer than putting single ones together."""
BITS: tuple[Bits, ...] = (4, 2)


@dataclass(frozen=True)
class Move:
    """Fewer bits in one layer.

    Attributes:
        layer: Its name.
        bits: After it.
        saved: Memory, bytes, beside what the layer had before.
        noise: Added to the noise of the outputs, over their signal.
        latency_us: Added to the time.
    """

    layer: str
    bits: Bits
    saved: int
    noise: float
    latency_us: float


@dataclass(frozen=True)
class Trial:
    """One layer alone with few bits.

    Attributes:
        saved: Memory, bytes.
        noise: As in :class:`Move`.
        noise_db: Of the outputs, signal over noise, dB.
        latency_us: How much longer the layer takes on its own.
    """

    saved: int
    noise: float
    noise_db: float
    latency_us: float


Trials = Mapping[tuple[str, Bits], Trial]


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        choice: Layer to its bits.
        solved: The graph.
        trials: What each layer alone costs and gives.
        agreement: Task to what it shows.
    """

    choice: Mapping[str, Bits]
    solved: Solved
    trials: Trials
    agreement: Mapping[str, Agreement]


def search(fitting: Fitting, judge: Judge, least: Mapping[str, float], report: Report = silent) -> Found:
    """The most memory that few bits save while every task keeps what it has to as the lower bound of its agreement.

    Args:
        fitting: The graph, its layers, and frames.
        judge: Measures agreement, on frames that fit nothing.
        least: Task to that bound, 0..1.
        report: Takes a line for each step.
    """
    layers = {layer.name: layer for layer in fitting.layers}
    rounded = fitting.alone(dict.fromkeys(layers, BITS), report)
    moves, trials = ranked(fitting, rounded, report)

    def together(count: int) -> Graph:
        graph = fitting.int8
        for name, bits in chosen(moves[:count]).items():
            graph = with_few_bits(graph, layers[name], *rounded[name, bits], bits)
        return graph

    def keeps(shown: Mapping[str, Agreement]) -> bool:
        return all(one.lower_bound >= least[task] for task, one in shown.items())

    few, many = 0, len(moves)
    while few < many:
        middle = (few + many + 1) // 2
        report(f"try {middle} of {len(moves)} moves to fewer bits")
        few, many = (middle, many) if keeps(judge(together(middle))) else (few, middle - 1)
    none = Found({}, Solved(fitting.int8), trials, judge(fitting.int8))
    return _extended(fitting, moves, few, none, judge, keeps, report)


def ranked(fitting: Fitting, rounded: Roundings, report: Report = silent) -> tuple[list[Move], Trials]:
    """The moves in the order in which they are made, and what each layer alone costs and gives."""
    layers = {layer.name: layer for layer in fitting.layers}
    graphs = {
        (name, bits): with_few_bits(fitting.int8, layers[name], *both, bits) for (name, bits), both in rounded.items()
    }
    trials = tried(fitting, graphs, report)
    return ordered(trials, latency_us(fitting.int8, fitting.feeds[0])), trials


def _extended(
    fitting: Fitting,
    moves: Sequence[Move],
    count: int,
    best: Found,
    judge: Judge,
    keeps: Callable[[Mapping[str, Agreement]], bool],
    report: Report,
) -> Found:
    """The best of what is found near ``count`` moves, with layers solved in turn."""
    low, high = 0, len(moves) + 1
    count = count or (high + 1) // 2
    for _ in range(SOLVED):
        if not low < count < high:
            break
        choice = chosen(moves[:count])
        solved = fitting.solved(choice, report)
        shown = judge(solved.graph)
        if keeps(shown):
            low, best = count, Found(choice, solved, best.trials, shown)
        else:
            high = count
        count = (low + high) // 2
    return best


def chosen(moves: Sequence[Move]) -> dict[str, Bits]:
    """Layer to its bits after all of ``moves``."""
    return {move.layer: move.bits for move in moves}


def tried(fitting: Fitting, graphs: Mapping[tuple[str, Bits], Graph], report: Report = silent) -> Trials:
    """What each of ``graphs``, with one layer of few bits, costs and gives beside the int8 graph."""
    noise = Noise(fitting.floating, fitting.feeds)
    before, memory = noise(fitting.int8), memory_bytes(fitting.int8)
    layers = {layer.name: layer for layer in fitting.layers}
    found: dict[tuple[str, Bits], Trial] = {}
    for number, ((name, bits), graph) in enumerate(graphs.items()):
        report(f"try layers with few bits, one by one ({number + 1} of {len(graphs)})")
        saved = memory - memory_bytes(graph)
        if saved <= 0:
            continue
        levels = noise.levels(graph)
        added = max(0.0, mean_noise(levels) - before)
        longer = alone_us(graph, layers[name]) - alone_us(fitting.int8, layers[name])
        found[name, bits] = Trial(saved, added, min(levels, default=0.0), longer)
    return found


def ordered(trials: Trials, latency_us: float) -> list[Move]:
    """Moves from int8 to 4 to 2 bits, the best first; a layer's moves stay in their order.

    Args:
        trials: What each layer alone costs and gives.
        latency_us: Of the whole network in int8: what is lost in time is counted in shares of it, and what is lost in
            answers in shares of the noise of all layers at once.
    """
    total = sum(t.noise for t in trials.values()) or 1.0

    def worth(move: Move) -> float:
        lost = max(0.0, move.noise) / total + max(0.0, move.latency_us) / max(latency_us, 1e-9)
        return move.saved / max(lost, 1e-9)

    moves: list[Move] = []
    for name in dict.fromkeys(name for name, _ in trials):
        steps: list[Move] = []
        for bits in BITS:
            one = trials.get((name, bits))
            if one is None:
                continue
            move = Move(name, bits, one.saved, one.noise, one.latency_us)
            while steps and worth(_beyond(move, steps)) >= worth(steps[-1]):
                steps.pop()
            steps.append(_beyond(move, steps))
        moves += [move for move in steps if move.saved > 0]
    return sorted(moves, key=lambda move: -worth(move))


def _beyond(move: Move, steps: Sequence[Move]) -> Move:
    """What ``move`` from int8 adds to what ``steps`` have done."""
    return dataclasses.replace(
        move,
        saved=move.saved - sum(step.saved for step in steps),
        noise=move.noise - sum(step.noise for step in steps),
        latency_us=move.latency_us - sum(step.latency_us for step in steps),
    )


def alone_us(graph: Graph, layer: Layer) -> float:
    """Time of one layer on its own, with what lays its windows side by side."""
    ops, needed = [], {layer.name}
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            ops.append(op)
            needed.update(n for n in op.inputs if n != layer.linear.source)
    names = {n for op in ops for n in (*op.inputs, *op.outputs) if n}
    tensors = [graph.tensors[n] for n in graph.tensors if n in names]
    part = Graph.of("one layer", [layer.linear.source], [layer.name], reversed(ops), tensors)
    return latency_us(part, {layer.linear.source: np.zeros(graph.tensors[layer.linear.source].shape, np.float32)})
