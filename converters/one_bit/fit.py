"""Layers with 1 bit solved in turn from unlabeled frames, and what follows them solved anew for what they make.

Every layer is solved, in running order, from what it now reads to what it gave in the float network, by the ridge
regression that weights of few bits are solved by: those of 1 bit from signs, int8 ones behind them from the values
that these make, as grafting refits what stands behind a foreign trunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.fit import Exact, Fitting, Rows
from multigraft.converters.low_bit.layer import Layer
from multigraft.converters.one_bit.bases import bases_of
from multigraft.converters.one_bit.layer import Signed, candidates, computed_from, with_signs
from multigraft.converters.one_bit.signs_of_values import Cuts
from multigraft.converters.quantising.linear_operators import linear_operator, with_constants
from multigraft.converters.quantising.sound_scales import (
    GREATEST_RATIO,
    LEAST_SCALE,
    input_scale,
    least_scales,
    stored_bias,
)
from multigraft.errors import ConversionError
from multigraft.tensors.arrays import Array, Float64Array
from multigraft.tflite.graph import Graph

Choice = Mapping[str, int]
"""Layer to its binary bases of weights: 1 or 2."""


@dataclass(frozen=True)
class Solved:
    """A graph with 1 bit in some layers.

    Attributes:
        graph: It.
        errors: Layer to the squared error of its results over their variance, on the frames that fit.
        refitted: int8 layers behind them that were solved anew.
    """

    graph: Graph
    errors: Mapping[str, float] = field(default_factory=dict)
    refitted: tuple[str, ...] = ()


class Solver:
    """Solves any choice of layers on the frames of ``fitting``; what two choices in a row begin with is solved once.

    Args:
        fitting: The int8 graph, its layers, and frames.
    """

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self.candidates = candidates(fitting.int8, list(fitting.layers))
        self._aims: dict[str, Array] = {}
        self._walked: list[tuple[int, Solved]] = []
        """For every layer, in running order, its bases (0: int8) and what was solved up to it."""

    def alone(self, graph: Graph, layer: Layer, count: int) -> Graph:
        """``graph`` with ``layer`` of ``count`` bases, solved for what it reads there; all else as it is."""
        return self._signed(graph, layer, count)[0]

    def solved(self, choice: Choice, report: Report = silent) -> Solved:
        """The int8 graph with 1 bit in the layers of ``choice``, each and all behind it solved in turn.

        Args:
            choice: Some of :attr:`candidates`.
            report: Takes a line for each layer.
        """
        layers = self.fitting.layers
        counts = [choice.get(layer.name, 0) for layer in layers]
        known = 0
        while known < len(self._walked) and self._walked[known][0] == counts[known]:
            known += 1
        del self._walked[known:]
        state = self._walked[-1][1] if self._walked else Solved(self.fitting.int8)
        changed = {n for n, c in zip((one.name for one in layers), counts, strict=True) if c}
        behind = computed_from(self.fitting.int8, changed)
        for place in range(known, len(layers)):
            layer, count = layers[place], counts[place]
            if count or layer.name in behind:
                report(f"solve layers for signs ({place + 1} of {len(layers)})")
                state = self._with(state, layer, count)
            self._walked.append((count, state))
        return state

    def _with(self, state: Solved, layer: Layer, count: int) -> Solved:
        if count:
            graph, error = self._signed(state.graph, layer, count)
            return dataclasses.replace(state, graph=graph, errors={**state.errors, layer.name: error})
        weights, bias = self._refitted(state.graph, layer)
        try:
            graph = with_int8(state.graph, layer, weights, bias)
        except ConversionError:
            return state  # It keeps the weights that it has.
        return dataclasses.replace(state, graph=graph, refitted=(*state.refitted, layer.name))

    def _signed(self, graph: Graph, layer: Layer, count: int) -> tuple[Graph, float]:
        """``graph`` with ``layer`` of 1 bit, and the squared error of its results over their variance."""
        fitting = self.fitting
        rows = self._rows(graph, layer)
        source = graph.tensors[layer.linear.source]
        assert source.quant is not None
        steps, channels = rows.design, source.shape[-1]
        steps /= np.float32(source.quant.scales[0])
        cuts = Cuts.of(steps, channels, source.quant.zero_points[0])
        signs = cuts.signs(steps)
        reach = np.repeat(cuts.reach * source.quant.scales[0], signs.shape[1] // channels)
        rows = dataclasses.replace(rows, design=signs)
        exact = Exact.of(fitting.regression(layer, rows, layer.weights(fitting.floating) * reach), rows)
        bases = bases_of(exact.weights, exact.covariance, count)
        signed = Signed(cuts, bases, exact.bias(bases.weights))
        return with_signs(graph, layer, signed), exact.error(bases.error)

    def _refitted(self, graph: Graph, layer: Layer) -> tuple[Float64Array, Float64Array]:
        """Float weights (outputs x inputs) and bias of ``layer``, solved for what it reads in ``graph``."""
        prior = layer.weights(self.fitting.floating)
        solution = self.fitting.regression(layer, self._rows(graph, layer), prior)
        return solution.weight[0].T, solution.intercept[0]

    def _rows(self, graph: Graph, layer: Layer) -> Rows:
        if not self._aims:
            self._aims = {one.name: aims for one, aims in self.fitting.aims(self.fitting.layers)}
        return self.fitting.rows(graph, layer, self._aims[layer.name])


def with_int8(graph: Graph, layer: Layer, weights: Float64Array, bias: Float64Array) -> Graph:
    """``graph`` with other int8 weights in ``layer``.

    Args:
        graph: int8.
        layer: An int8 layer of it.
        weights: Outputs x inputs; of windows a channel's places follow each other.
        bias: Float, one per output.

    Raises:
        ConversionError: A scale or the bias does not fit what the kernels compute with.
    """
    op = graph.producer(layer.name)
    linear = None if op is None else linear_operator(graph, op)
    assert op is not None and linear is not None
    old, output = graph.tensors[linear.weights], graph.tensors[layer.name].quant
    assert output is not None and old.quant is not None
    least = np.maximum(least_scales(graph, linear, weights, bias), LEAST_SCALE)
    scales = np.maximum(np.abs(weights).max(1) / 127, least)
    if old.quant.per_tensor:
        scales = np.full_like(scales, scales.max())
    scales = scales.astype(np.float32).astype(np.float64)
    if (scales * input_scale(graph, linear) / output.scales[0] >= GREATEST_RATIO).any():
        raise ConversionError(f"the steps of {layer.name!r} are too coarse", "keep its weights")
    stored = np.rint(weights / scales[:, None]).clip(-127, 127).astype(np.int8)
    if layer.window is not None:
        stored = stored.reshape(len(stored), -1, *layer.window.size).transpose(0, 2, 3, 1)
    held = tuple(float(s) for s in (scales[:1] if old.quant.per_tensor else scales))
    quant = dataclasses.replace(old.quant, scales=held)
    changed = [(1, dataclasses.replace(old, data=stored.reshape(old.shape), quant=quant))]
    if linear.bias:
        changed.append((2, stored_bias(graph, linear, bias, np.array(held))))
    return with_constants(graph, op, changed)[0]
