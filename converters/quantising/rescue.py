"""Gives layers more bits where integers answer too rarely as the float network does: the noisiest, one by one.

Where answers are decoded, groups of layers come before single ones, some of them with 8-bit weights and float values.
Layers of 4-bit weights get 8-bit ones, which every target takes; where that is not enough, layers stay in float. A
layer is changed if that brings the agreement nearer to what is needed, or the outputs clearly nearer to the float ones,
and neither clearly further away. Agreement is looked at on the frames that set the ranges, never on those that accept
the bundle. 16-bit activations would cost less than float, and no firmware of ours and not every kernel of the
interpreters has them; float runs everywhere but in firmware.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.converters.conversion.interpreters import Arrays, Runner, Taps, tapped
from multigraft.converters.quantising.groups import Group, with_groups
from multigraft.converters.quantising.improve import Quantised, output_sqnr_db
from multigraft.converters.quantising.layer_error import LayerError, LayerErrorReport, layer_error, stored
from multigraft.converters.quantising.linear_operators import LinearOperator, linear_operators
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import op_macs

Judge = Callable[[Graph], Mapping[str, float]]
"""Task to the agreement of a quantised graph with the original, 0..1."""

MOST_TRIES = 24
"""Layers that are tried at most, with more bits and in float each."""

PATIENCE = 4
"""So many layers in turn that do not help, and it ends."""

LEAST_PART = 0.1
"""Of what is lacking, that has to be made up where not all of it is: else it is not worth its time and given up."""

POOR_TRIES = 6
"""Layers after which so much has to be made up, or no more are tried."""

LEAST_GAIN_DB = 0.1

CLEARLY_WORSE_DB = 1.0
"""Such an answer is not worth the frames that agreement takes."""

TIMED_RUNS = 30


@dataclass(frozen=True)
class Rescue:
    """What got more bits or was kept in float so that tasks keep their agreement, and what that costs.

    Attributes:
        layers: Kept in float, in the order in which they were chosen.
        tried: How many layers were tried.
        needed: Task to the agreement with the float network that it needs for its budget.
        before: Task to its agreement with all layers quantised.
        after: Task to its agreement with ``layers`` in float and ``raised`` in 8 bits.
        weights_bytes: More bytes of weights.
        float_macs: Multiply-accumulates per frame that are in float now.
        dynamic_macs: Of these, those of 8-bit weights, which are quantised while running.
        latency_us_before: All tasks on one frame here, one thread, median, microseconds.
        latency_us_after: Likewise, after it.
        raised: From 4-bit to 8-bit weights, in the order in which they were chosen.
        groups: Kept in float together, before single layers.
        has_whole_ranges: Whether values were given their whole ranges again, but for what a SiLU makes nothing of.
        not_worth: Agreement, summed over the tasks, that was gained by what was then given up: less than
            :data:`LEAST_PART` of what was lacking.
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
    raised: tuple[LayerError, ...] = ()
    groups: tuple[Group, ...] = ()
    has_whole_ranges: bool = False
    not_worth: float = 0.0
    dynamic_macs: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether every task has what it needs now."""
        return _shortfall(self.after, self.needed) <= 0

    def sentences(self) -> list[str]:
        """For people."""
        low = [n for n in self.needed if self.before[n] < self.needed[n]]
        if not low:
            return [
                f"Quantised, too few answers of {' and '.join(self.needed)} stay equal on held-out frames. On frames "
                "for fitting all that are needed do, so these cannot tell which layers to keep in float.",
                "More frames for fitting may (fit_frames in [graft]), or name layers in keep_float in [convert].",
            ]
        missed = ", ".join(f"{n}: {self.before[n]:.3f} on frames for fitting, {self.needed[n]:.3f} needed" for n in low)
        if not self.layers and not self.raised and not self.groups and not self.has_whole_ranges:
            little = f"gained {self.not_worth:.4f}, which is not worth its time" if self.not_worth else "did not help"
            return [f"Quantised, too few answers stay equal ({missed}); keeping layers in float {little}."]
        done = [f"these get 8-bit weights: {_named(self.raised)}"] if self.raised else []
        if self.has_whole_ranges:
            done.append("values keep their whole ranges, but for those below what a SiLU lets through")
        for group in self.groups:
            done.append(f"{group.name} ({group.operators} operators, {group.macs:,} MACs) stay float32")
        done += [f"these stay float32: {_named(self.layers)}"] if self.layers else []
        is_float = bool(self.layers or self.groups)
        now = ", ".join(f"{n} {self.after[n]:.3f}" for n in low)
        of_eight = f", {self.dynamic_macs:,} of them with 8-bit weights" if self.dynamic_macs else ""
        in_float = f" and {self.float_macs:,} multiply-accumulates in float{of_eight}" if is_float else ""
        return [
            f"Quantised, too few answers stay equal ({missed}). So {', and '.join(done)}.",
            f"That gives {now}{'' if self.is_enough else ', which is still too little'}.",
            f"It costs {self.weights_bytes:,} bytes of weights{in_float}; "
            f"{self.latency_us_before:.0f} us become {self.latency_us_after:.0f} us here"
            f"{'; firmware takes no such bundle' if is_float else ''}.",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        said = dataclasses.asdict(self)
        for added in ("groups", "has_whole_ranges", "not_worth", "dynamic_macs"):
            if not said[added]:
                del said[added]
        for changed in {"layers", "raised", "groups"} & said.keys():
            said[changed] = list(said[changed])
        return {name: value for name, value in said.items() if not name.startswith("latency_us")}


def rescue(
    quantised: Quantised,
    kept: Collection[str],
    judge: Judge,
    lacking: Mapping[str, float],
    feeds: Sequence[Arrays],
    known: LayerErrorReport | None = None,
    tail: Collection[str] = (),
    measured: Mapping[str, float] | None = None,
) -> tuple[Quantised, Rescue | None]:
    """Give layers more bits, and keep layers in float, until agreement has risen by what is lacking or nothing helps.

    Args:
        quantised: What to start from.
        kept: Operators that are in float anyway.
        judge: Measures agreement.
        lacking: Task to the rise of its agreement that is needed, above 0; others are not looked at.
        feeds: Some frames, as the float graph takes them, to tell noisy layers by.
        known: The error of the layers of ``quantised``, where it was measured already.
        tail: What the last layers of decoded answers and the arithmetic behind them write; with it, groups of
            operators are tried in float before single ones.
        measured: Task to the agreement that the rise is missing from, on other frames: as large a share of what differs
            then has to go, on frames of which more differs as well.

    Returns:
        What is to be used, and what was done; None where there was nothing to do.
    """
    if not lacking or not feeds:
        return quantised, None
    before = judge(quantised.graph)
    needed = {task: _needed(before[task], rise, (measured or {}).get(task)) for task, rise in lacking.items()}
    taps = Taps(quantised.floating, quantised.floating.outputs)
    truth = [taps(feed) for feed in feeds]

    def quality(graph: Graph) -> float:
        return statistics.fmean(output_sqnr_db(truth, graph, feeds).values() or [0.0])

    original, grouped = quantised, None
    if tail and _shortfall(before, needed) > 0:
        lacks = functools.partial(_shortfall, needed=needed)
        grouped = with_groups(quantised, kept, tail, judge, lacks, quality, before)
        if grouped.graph is not quantised.graph:
            quantised, kept, known = dataclasses.replace(grouped.quantised, graph=grouped.graph), grouped.kept, None
    start = before if grouped is None else grouped.agreement
    search = _Search(
        quantised.graph, start, quality(quantised.graph), judge, quality, needed, _shortfall(before, needed)
    )
    raised: list[LayerError] = []
    layers: list[LayerError] = []
    if not search.is_enough:
        noise = known or layer_error(quantised.floating, search.graph, feeds)
        of_four_bits = _coarse(search.graph)
        coarse = [layer for layer in _noisiest(noise, search.graph) if layer.tensor in of_four_bits]
        raised = search.add(coarse, lambda names: quantised.again(kept, names))
        fine = [layer.tensor for layer in raised]
        if raised and not search.is_enough:
            noise = layer_error(quantised.floating, search.graph, feeds)
        layers = search.add(_noisiest(noise, search.graph), lambda names: quantised.again({*kept, *names}, fine))
    graph, agreement, not_worth = search.graph, search.agreement, 0.0
    if _shortfall(agreement, needed) >= _shortfall(start, needed):
        graph, agreement, layers, raised = quantised.graph, start, [], []
    left, lacked = _shortfall(agreement, needed), _shortfall(before, needed)
    if left > (1 - LEAST_PART) * lacked:
        not_worth = max(0.0, lacked - left)
        quantised, graph, agreement, layers, raised = original, original.graph, before, [], []
        grouped = dataclasses.replace(grouped, groups=(), has_whole_ranges=False) if grouped else None
    done = Rescue(
        tuple(layers),
        search.tried + (grouped.tried if grouped else 0),
        needed,
        dict(before),
        dict(agreement),
        graph.weights_bytes() - original.graph.weights_bytes(),
        _float_macs(graph) - _float_macs(original.graph),
        latency_us(original.graph, feeds[0]),
        latency_us(graph, feeds[0]) if graph is not original.graph else 0.0,
        tuple(raised),
        grouped.groups if grouped else (),
        grouped is not None and grouped.has_whole_ranges,
        not_worth,
        _dynamic_macs(graph) - _dynamic_macs(original.graph),
    )
    return dataclasses.replace(quantised, graph=graph), done


def _needed(before: float, rise: float, measured: float | None) -> float:
    """The agreement that is needed here where one of ``measured`` has to rise elsewhere."""
    share = 0.0 if measured is None or measured >= 1 else rise / (1 - measured)
    return min(1.0, max(before + rise, before + share * (1 - before)))


@dataclass
class _Search:
    """The best graph so far, what it shows, and what another is judged by.

    Attributes:
        graph: It.
        agreement: Task to its agreement.
        noise: Mean SQNR of its outputs, dB.
        judge: Gives the agreement of a graph, which takes many frames.
        quality: Gives the noise of one.
        needed: Task to the agreement it needs.
        lacked: What was missing before anything was tried.
        tried: Layers tried.
    """

    graph: Graph
    agreement: Mapping[str, float]
    noise: float
    judge: Judge
    quality: Callable[[Graph], float]
    needed: Mapping[str, float]
    lacked: float
    tried: int = 0

    @property
    def is_enough(self) -> bool:
        return _shortfall(self.agreement, self.needed) <= 0

    def add(self, layers: Sequence[LayerError], trial_with: Callable[[set[str]], Graph]) -> list[LayerError]:
        """Those of ``layers``, one after the other, that help; ``trial_with`` changes the layers it is given."""
        chosen: list[LayerError] = []
        in_vain = 0
        for layer in layers[:MOST_TRIES]:
            if in_vain >= PATIENCE or self.is_enough or self._is_hopeless:
                break
            self.tried += 1
            trial = trial_with({*(other.tensor for other in chosen), layer.tensor})
            if self._took(trial):
                chosen.append(layer)
                in_vain = 0
            else:
                in_vain += 1
        return chosen

    @property
    def _is_hopeless(self) -> bool:
        """Whether enough layers were tried to know that the rest will not be worth it."""
        return self.tried >= POOR_TRIES and _shortfall(self.agreement, self.needed) > (1 - LEAST_PART) * self.lacked

    def _took(self, trial: Graph) -> bool:
        noise = self.quality(trial)
        if noise <= self.noise - CLEARLY_WORSE_DB:
            return False
        judged = self.judge(trial)
        left, before = _shortfall(judged, self.needed), _shortfall(self.agreement, self.needed)
        if left > before or (left == before and noise < self.noise + LEAST_GAIN_DB):
            return False
        self.graph, self.agreement, self.noise = trial, judged, noise
        return True


def _named(layers: Sequence[LayerError]) -> str:
    return ", ".join(f"{layer.tensor} ({layer.own_sqnr_db:.1f} dB)" for layer in layers)


def _coarse(graph: Graph) -> set[str]:
    """What operators with 4-bit weights write."""
    return {o.result for o in linear_operators(graph) if graph.tensors[o.weights].dtype == "int4"}


def _shortfall(agreement: Mapping[str, float], needed: Mapping[str, float]) -> float:
    return sum(max(0.0, least - agreement[task]) for task, least in needed.items() if task in agreement)


def _noisiest(noise: LayerErrorReport, graph: Graph) -> list[LayerError]:
    """Operators on integers or with integer weights, the noisiest first."""
    dynamic = {linear.result for linear in _dynamic(graph)}
    computed = [n for n in noise.layers if graph.tensors[n.tensor].dtype != "float32" or n.tensor in dynamic]
    return sorted(computed, key=lambda layer: layer.own_sqnr_db)


def _float_macs(graph: Graph) -> int:
    return sum(op_macs(graph, op) for op in graph.ops if graph.tensors[op.outputs[0]].dtype == "float32")


def _dynamic_macs(graph: Graph) -> int:
    return sum(op_macs(graph, linear.op) for linear in _dynamic(graph))


def _dynamic(graph: Graph) -> list[LinearOperator]:
    """Operators that write float values and have integer weights."""
    linear = (o for o in linear_operators(graph) if graph.tensors[o.result].dtype == "float32")
    return [o for o in linear if graph.tensors[o.weights].dtype != "float32"]


def latency_us(graph: Graph, feed: Arrays) -> float:
    """Median time of one frame here, one thread, microseconds.

    Args:
        graph: Quantised.
        feed: Float values of its inputs.
    """
    runner, given = Runner(tapped(graph, graph.outputs)), stored(feed, graph)
    runner(given)
    times = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        runner(given)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6
