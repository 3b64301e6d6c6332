"""Keeps the noisiest layers in float, one by one, where int8 answers too rarely as the float network does.

A layer is kept if it brings the agreement nearer to what is needed, or the outputs clearly nearer to the float ones.
Agreement is looked at on the frames that set the ranges, never on those that accept the bundle. 16-bit activations
would cost less, and no firmware of ours and not every kernel of the interpreters has them; float runs everywhere but in
firmware.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.converters.conversion.interpreters import Arrays, Runner, Taps, tapped
from multigraft.converters.quantising.improve import Quantised, output_sqnr_db
from multigraft.converters.quantising.layer_error import LayerError, layer_error, stored
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import op_macs

Judge = Callable[[Graph], Mapping[str, float]]
"""Task to the agreement of a quantised graph with the original, 0..1."""

MOST_TRIES = 24
PATIENCE = 4
"""So many layers in turn that do not help, and it ends."""

LEAST_GAIN_DB = 0.1
TIMED_RUNS = 30


@dataclass(frozen=True)
class Rescue:
    """What was kept in float so that tasks keep their agreement, and what that costs.

    Attributes:
        layers: Kept in float, in the order in which they were chosen.
        tried: How many layers were tried.
        needed: Task to the agreement with the float network that it needs for its budget.
        before: Task to its agreement with all layers quantised.
        after: Task to its agreement with ``layers`` in float.
        weights_bytes: More bytes of weights.
        float_macs: Multiply-accumulates per frame that are in float now.
        latency_us_before: All tasks on one frame here, one thread, median, microseconds.
        latency_us_after: Likewise, with ``layers`` in float.
    """

    layers: tuple[LayerError, ...]
    tried: int
    needed: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]
    weights_bytes: int
    float_macs: int
    latency_us_before: float
    latency_us_after: float

    @property
    def is_enough(self) -> bool:
        """Whether every task has what it needs now."""
        return _shortfall(self.after, self.needed) <= 0

    def sentences(self) -> list[str]:
        """For people."""
        low = [n for n in self.needed if self.before[n] < self.needed[n]]
        missed = ", ".join(f"{n}: {self.before[n]:.3f} on frames for fitting, {self.needed[n]:.3f} needed" for n in low)
        if not self.layers:
            return [f"Quantised, too few answers stay equal ({missed}); keeping layers in float did not help."]
        names = ", ".join(f"{layer.tensor} ({layer.own_sqnr_db:.1f} dB)" for layer in self.layers)
        now = ", ".join(f"{n} {self.after[n]:.3f}" for n in low)
        return [
            f"Quantised, too few answers stay equal ({missed}). So these stay float32: {names}.",
            f"That gives {now}{'' if self.is_enough else ', which is still too little'}.",
            f"It costs {self.weights_bytes:,} bytes of weights and {self.float_macs:,} multiply-accumulates in float; "
            f"{self.latency_us_before:.0f} us become {self.latency_us_after:.0f} us here; "
            "firmware takes no such bundle.",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        said = {**dataclasses.asdict(self), "layers": [dataclasses.asdict(layer) for layer in self.layers]}
        return {name: value for name, value in said.items() if not name.startswith("latency_us")}


def rescue(
    quantised: Quantised, kept: Collection[str], judge: Judge, lacking: Mapping[str, float], feeds: Sequence[Arrays]
) -> tuple[Quantised, Rescue | None]:
    """Keep layers in float until agreement has risen by what is lacking, or nothing helps.

    Args:
        quantised: What to start from.
        kept: Operators that are in float anyway.
        judge: Measures agreement.
        lacking: Task to the rise of its agreement that is needed, above 0; others are not looked at.
        feeds: Some frames, as the float graph takes them, to tell noisy layers by.

    Returns:
        What is to be used, and what was done; None where there was nothing to do.
    """
    if not lacking or not feeds:
        return quantised, None
    before = judge(quantised.graph)
    needed = {task: min(1.0, before[task] + rise) for task, rise in lacking.items()}
    taps = Taps(quantised.floating, quantised.floating.outputs)
    truth = [taps(feed) for feed in feeds]

    def quality(graph: Graph) -> float:
        return statistics.fmean(output_sqnr_db(truth, graph, feeds).values() or [0.0])

    graph, agreement, noise = quantised.graph, before, quality(quantised.graph)
    layers: list[LayerError] = []
    tried = in_vain = 0
    for layer in _noisiest(quantised, feeds):
        if tried >= MOST_TRIES or in_vain >= PATIENCE or _shortfall(agreement, needed) <= 0:
            break
        tried += 1
        trial = quantised.again({*kept, *(other.tensor for other in layers), layer.tensor})
        judged, quiet = judge(trial), quality(trial)
        if _shortfall(judged, needed) < _shortfall(agreement, needed) or (
            quiet >= noise + LEAST_GAIN_DB and _shortfall(judged, needed) <= _shortfall(agreement, needed)
        ):
            layers.append(layer)
            graph, agreement, noise, in_vain = trial, judged, quiet, 0
        else:
            in_vain += 1
    if _shortfall(agreement, needed) >= _shortfall(before, needed):
        graph, agreement, layers = quantised.graph, before, []
    done = Rescue(
        tuple(layers),
        tried,
        needed,
        dict(before),
        dict(agreement),
        graph.weights_bytes() - quantised.graph.weights_bytes(),
        _float_macs(graph) - _float_macs(quantised.graph),
        _latency_us(quantised.graph, feeds[0]),
        _latency_us(graph, feeds[0]) if layers else 0.0,
    )
    return dataclasses.replace(quantised, graph=graph), done


def _shortfall(agreement: Mapping[str, float], needed: Mapping[str, float]) -> float:
    return sum(max(0.0, least - agreement[task]) for task, least in needed.items() if task in agreement)


def _noisiest(quantised: Quantised, feeds: Sequence[Arrays]) -> list[LayerError]:
    """Operators on integers, the noisiest first."""
    layers = layer_error(quantised.floating, quantised.graph, feeds).layers
    computed = [layer for layer in layers if quantised.graph.tensors[layer.tensor].dtype != "float32"]
    return sorted(computed, key=lambda layer: layer.own_sqnr_db)


def _float_macs(graph: Graph) -> int:
    return sum(op_macs(graph, op) for op in graph.ops if graph.tensors[op.outputs[0]].dtype == "float32")


def _latency_us(graph: Graph, feed: Arrays) -> float:
    runner, given = Runner(tapped(graph, graph.outputs)), stored(feed, graph)
    runner(given)
    times = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        runner(given)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6
