"""Chooses the layers that get 1 bit: by what time and memory gain for what the network's outputs lose.

Every convolution but the first and last is tried alone, with one and with two bases. Then the best is taken, again and
again: the outputs' noise is measured anew with all that were taken before it, everything behind is solved anew, and it
stays if the agreement does. Similarity of representations would be cheaper to look at and ranks worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.memory import memory_bytes
from multigraft.converters.low_bit.noise import Noise, mean_noise
from multigraft.converters.low_bit.search import Judge, alone_us
from multigraft.converters.one_bit.fit import Solved, Solver
from multigraft.converters.quantising.rescue import latency_us
from multigraft.tflite.graph import Graph

BASES = (1, 2)
LOOKED_AT = 3
"""Moves whose noise is measured anew before one is made."""
MISSES = 3
"""In a row, after which no other layer is tried."""


@dataclass(frozen=True)
class Trial:
    """One layer alone with 1 bit.

    Attributes:
        noise: Added to the noise of the outputs, over their signal.
        noise_db: Of the outputs, signal over noise, dB.
        latency_us: How much longer the layer takes on its own, microseconds; below 0 where it is faster.
        memory_bytes: How much more memory the network takes, counted; below 0 where it takes less.
        saved_bytes: By which the layer's constants became fewer.
    """

    noise: float
    noise_db: float
    latency_us: float
    memory_bytes: int
    saved_bytes: int


Move = tuple[str, int]
"""Layer and its bases."""


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        choice: Layer to its bases.
        solved: The graph.
        trials: What each layer alone costs and gives.
        missed: Tried beside those chosen before them, and given up, since the agreement was lost.
        useless: Layers that gain neither time nor memory.
    """

    choice: Mapping[str, int]
    solved: Solved
    trials: Mapping[Move, Trial]
    missed: tuple[Move, ...] = ()
    useless: tuple[str, ...] = ()


def search(solver: Solver, judge: Judge, least: Mapping[str, float], report: Report = silent) -> Found:
    """The layers that gain most with 1 bit while every task keeps what it has to as the lower bound of its agreement.

    Args:
        solver: Of the graph, with frames.
        judge: Measures agreement, on frames that fit nothing.
        least: Task to that bound, 0..1.
        report: Takes a line for each step.
    """
    fitting = solver.fitting
    noise = Noise(fitting.floating, fitting.feeds)
    trials = tried(solver, noise, report)
    gain = _Gain(fitting.int8, fitting.feeds[0])
    left = ranked(trials, gain)
    layers = {layer.name: layer for layer in solver.candidates}
    useless = tuple(name for name in layers if not any(move[0] == name for move in left))
    choice: dict[str, int] = {}
    solved, missed, misses = Solved(fitting.int8), list[Move](), 0
    # What each move adds to the noise of the graph as it is by now; the trials have measured that for the int8 one.
    before, added = noise(solved.graph), {move: trial.noise for move, trial in trials.items()}
    while left and misses < MISSES:
        for name, count in left[:LOOKED_AT]:
            if (name, count) not in added:
                added[name, count] = noise(solver.alone(solved.graph, layers[name], count)) - before
        move = max(left[:LOOKED_AT], key=lambda move: gain(trials[move]) / max(added[move], 1e-9))
        left.remove(move)
        report(f"try {move[0]} with 1 bit beside {len(choice)} other layers")
        trial = solver.solved({**choice, move[0]: move[1]}, report)
        shown = judge(trial.graph)
        if all(one.lower_bound >= least[task] for task, one in shown.items()):
            choice[move[0]], solved, misses = move[1], trial, 0
            before, added = noise(solved.graph), {}
            left = [other for other in left if other[0] != move[0]]
        else:
            missed.append(move)
            misses += 1
            left = [other for other in left if other[0] != move[0] or other[1] > move[1]]
    return Found(choice, solved, trials, tuple(missed), useless)


def tried(solver: Solver, noise: Noise, report: Report = silent, bases: Sequence[int] = BASES) -> dict[Move, Trial]:
    """What every layer alone costs and gives, nothing behind it being solved anew."""
    fitting = solver.fitting
    before, memory = noise(fitting.int8), memory_bytes(fitting.int8)
    found: dict[Move, Trial] = {}
    moves = [(layer, count) for layer in solver.candidates for count in bases]
    for number, (layer, count) in enumerate(moves):
        report(f"try layers with 1 bit, one by one ({number + 1} of {len(moves)})")
        graph = solver.alone(fitting.int8, layer, count)
        levels = noise.levels(graph)
        added = max(0.0, mean_noise(levels) - before)
        longer = alone_us(graph, layer) - alone_us(fitting.int8, layer)
        more, saved = memory_bytes(graph) - memory, fitting.int8.weights_bytes() - graph.weights_bytes()
        found[layer.name, count] = Trial(added, min(levels, default=0.0), longer, more, saved)
    return found


class _Gain:
    """What a trial gains in time and memory, as the sum of their shares of the whole network's in int8."""

    def __init__(self, int8: Graph, feed: Arrays) -> None:
        self._latency_us, self._memory = max(latency_us(int8, feed), 1e-9), max(memory_bytes(int8), 1)

    def __call__(self, trial: Trial) -> float:
        return -trial.latency_us / self._latency_us - trial.memory_bytes / self._memory


def ranked(trials: Mapping[Move, Trial], gain: Callable[[Trial], float]) -> list[Move]:
    """The moves that gain something, the most for its noise first."""
    gaining = [move for move, trial in trials.items() if gain(trial) > 0]
    return sorted(gaining, key=lambda move: -gain(trials[move]) / max(trials[move].noise, 1e-9))
