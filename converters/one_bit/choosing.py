"""An int8 graph with 1 bit in the layers that are asked for or found, and what is to be said of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from multigraft.converters.conversion.interpreters import Arrays, Runner, tapped
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.low_bit.memory import memory_bytes
from multigraft.converters.low_bit.noise import Noise
from multigraft.converters.low_bit.search import Judge
from multigraft.converters.one_bit.fit import Solver
from multigraft.converters.one_bit.report import OneBitLayer, OneBits
from multigraft.converters.one_bit.search import Found, search, tried
from multigraft.converters.quantising.layer_error import stored
from multigraft.converters.settings.convert_settings import Weights
from multigraft.tflite.graph import Graph

TIMED_ROUNDS = 50


def with_one_bit(
    fitting: Fitting, weights: Weights, judge: Judge, least: Mapping[str, float], report: Report = silent
) -> tuple[Graph, OneBits]:
    """The graph, and what each layer cost and gave.

    Args:
        fitting: The int8 graph, all its layers, and frames.
        weights: ``1bit``: in every convolution but the first and last; ``auto-1bit``: where it gains and every task
            keeps ``least``.
        judge: Measures agreement, on frames that fit nothing.
        least: Task to the lower bound of agreement to keep, 0..1.
        report: Takes a line for each step.

    Raises:
        MissingDependencyError: The delegate that runs binary operators is not there or does not work.
    """
    solver = Solver(fitting)
    minimum = None
    if weights == "auto-1bit":
        found, minimum = search(solver, judge, least, report), min(least.values(), default=None)
    else:
        trials = tried(solver, Noise(fitting.floating, fitting.feeds), report, bases=(1,))
        choice = {layer.name: 1 for layer in solver.candidates}
        found = Found(choice, solver.solved(choice, report), trials)
    graph = found.solved.graph
    before_us, after_us = paired_us(fitting.int8, graph, fitting.feeds[0])
    told = OneBits(
        weights,
        tuple(_layers(solver, found)),
        len(solver.candidates),
        memory_bytes(fitting.int8),
        memory_bytes(graph),
        judge(fitting.int8),
        judge(graph),
        minimum,
        latency_before_us=before_us,
        latency_after_us=after_us,
        refitted=found.solved.refitted,
        missed=tuple(dict.fromkeys(name for name, _ in found.missed if name not in found.choice)),
        useless=found.useless,
    )
    return graph, told


def paired_us(one: Graph, other: Graph, feed: Arrays) -> tuple[float, float]:
    """Median time of one frame of either, in turn, one thread, microseconds.

    Args:
        one: A quantised graph.
        other: Another of the same inputs.
        feed: Float values of the inputs.
    """
    runners = [(Runner(tapped(graph, graph.outputs)), stored(feed, graph)) for graph in (one, other)]
    times: list[list[float]] = [[], []]
    for _ in range(TIMED_ROUNDS + 1):
        for (runner, given), seen in zip(runners, times, strict=True):
            start = time.perf_counter()
            runner(given)
            seen.append(time.perf_counter() - start)
    first, second = (statistics.median(seen[1:]) * 1e6 for seen in times)
    return first, second


def _layers(solver: Solver, found: Found) -> list[OneBitLayer]:
    layers, int8 = [], solver.fitting.int8
    for layer in solver.candidates:
        bases = found.choice.get(layer.name)
        if bases is None:
            continue
        trial = found.trials[layer.name, bases]
        outputs, inputs = layer.shape(int8)
        layers.append(
            OneBitLayer(
                layer.name,
                layer.linear.op.name,
                bases,
                outputs * inputs,
                outputs * inputs - trial.saved_bytes,
                found.solved.errors[layer.name],
                trial.noise_db,
                trial.latency_us,
            )
        )
    return layers
