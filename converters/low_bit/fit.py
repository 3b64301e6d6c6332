"""Layers solved and rounded in turn: from what each now receives to what it gave in the float network.

The error of earlier layers is thus corrected by later ones, and so is that of the other side of a residual sum. What a
ReLU or a clip hides is not fitted. Rows are sampled while frames stream by.

Source of the idea: Qronos (arXiv 2505.11695), by regression from quantised inputs, with a ridge that held-out rows
choose in the place of its first column's correction.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.conversion.rewriting import only_reader, prune
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.layer import Bits, Layer, with_few_bits
from multigraft.converters.low_bit.rounding import Levels, Rounded, round_weights
from multigraft.converters.quantising.layer_error import real, stored
from multigraft.errors import ConversionError
from multigraft.refit.linear_layer import HELD_OUT_EVERY
from multigraft.refit.ridge import Solution, fit_rows
from multigraft.refit.row_blocks import products
from multigraft.tensors.arrays import Array, Float64Array
from multigraft.tflite.graph import Graph

ROWS_PER_INPUT = 24
LEAST_ROWS = 8_000
DESIGN_BYTES = 1 << 28
"""Of one layer's rows."""
PASS_BYTES = 1 << 29
"""Of the rows of several layers, which are read in one pass."""


Roundings = dict[tuple[str, Bits], tuple[Rounded, Float64Array]]
"""Layer and bits to its new weights and bias."""


@dataclass(frozen=True)
class Solved:
    """A graph with few bits in some layers.

    Attributes:
        graph: It.
        errors: Layer to the squared error of its results over their variance, on the frames that fit.
        refused: Layer that keeps its 8 bits to the reason.
    """

    graph: Graph
    errors: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """What a layer is solved on.

    Attributes:
        design: What it reads, rows x inputs.
        goal: What it shall give, rows x outputs.
        beside: The other side of the sum that this goes into, likewise, or None.
    """

    design: Array
    goal: Array
    beside: Array | None = None


@dataclass(frozen=True)
class Exact:
    """A layer that is solved and not rounded yet.

    Attributes:
        solution: Its weights and intercept.
        mean: Of its inputs.
        covariance: Of its inputs, with what the ridge adds: rounding costs by it.
        power: Variance of what it shall give, of all outputs together.
    """

    solution: Solution
    mean: Float64Array
    covariance: Float64Array
    power: float

    @classmethod
    def of(cls, solution: Solution, rows: Rows) -> Self:
        """What was solved on ``rows``."""
        mean, covariance = _moments(rows.design)
        pull = solution.strength * np.trace(covariance) / len(covariance)
        power = float(rows.goal.var(axis=0, dtype=np.float64).sum()) + 1e-12
        return cls(solution, mean, covariance + pull * np.eye(len(covariance)), power)

    @property
    def weights(self) -> Float64Array:
        """Outputs x inputs."""
        return np.asarray(self.solution.weight[0].T)

    def bias(self, rounded: Float64Array) -> Float64Array:
        """One per output: with weights ``rounded``, what the layer gives stays the same in the mean."""
        return np.asarray(self.solution.intercept[0] + (self.weights - rounded) @ self.mean)

    def error(self, rounding: Float64Array) -> float:
        """Squared error of what the layer gives over its variance, with that of rounding, one per output."""
        return self.solution.relative_error + float(rounding.sum()) / self.power


@dataclass(frozen=True)
class Fitting:
    """Solves and rounds layers on given frames.

    Attributes:
        floating: The float graph.
        int8: What was made of it.
        layers: Those that may get few bits, in running order.
        feeds: Frames, as the float graph takes them.
        seed: Of the choice of rows.
    """

    floating: Graph
    int8: Graph
    layers: Sequence[Layer]
    feeds: Sequence[Arrays]
    seed: int = 0

    def alone(self, choice: Mapping[str, Sequence[Bits]], report: Report = silent) -> Roundings:
        """Exact weights of single layers rounded for what each reads in the int8 graph, and its bias.

        Args:
            choice: Layer to the bits that are tried. What kernels cannot compute with is not among the results.
            report: Takes a line for each layer.
        """
        found: Roundings = {}
        wanted = [layer for layer in self.layers if layer.name in choice]
        for number, (layer, design) in enumerate(self._designs(wanted)):
            report(f"round layers to few bits, one by one ({number + 1} of {len(wanted)})")
            exact, bias = layer.weights(self.floating), layer.exact.bias_values(self.floating)
            mean, covariance = _moments(design)
            for bits in choice[layer.name]:
                rounded = round_weights(exact, covariance, Levels.of(bits), self._silent_scales(layer))
                moved = bias + (exact - rounded.weights) @ mean
                with contextlib.suppress(ConversionError):
                    with_few_bits(self.int8, layer, rounded, moved, bits)
                    found[layer.name, bits] = rounded, moved
        return found

    def solved(self, choice: Mapping[str, Bits], report: Report = silent) -> Solved:
        """The int8 graph with few bits in all layers of ``choice``, each solved for what those before it make."""
        graph, errors, refused = self.int8, dict[str, float](), dict[str, str]()
        wanted = [layer for layer in self.layers if layer.name in choice]
        for number, (layer, aims) in enumerate(self.aims(wanted)):
            report(f"solve layers for few bits ({number + 1} of {len(wanted)})")
            rows, bits = self.rows(graph, layer, aims), choice[layer.name]
            exact = Exact.of(self.regression(layer, rows, layer.weights(self.floating)), rows)
            rounded = round_weights(exact.weights, exact.covariance, Levels.of(bits), self._silent_scales(layer))
            try:
                graph = with_few_bits(graph, layer, rounded, exact.bias(rounded.weights), bits)
            except ConversionError as error:
                refused[layer.name] = error.problem
                continue
            errors[layer.name] = exact.error(rounded.error)
        return Solved(graph, errors, refused)

    def regression(self, layer: Layer, rows: Rows, prior: Float64Array) -> Solution:
        """A layer's weights solved for what it reads now; what it is cut off at hides errors.

        Args:
            layer: It.
            rows: Of it.
            prior: Weights to stay near, outputs x inputs.
        """
        together = self._kept(layer) if len(self.feeds) > 1 else 1
        held_out = (np.arange(len(rows.design)) // together) % HELD_OUT_EVERY == 0
        if held_out.all():  # One row fits as well as it can.
            held_out[:] = False
        clamp = self._clamp(layer)
        offsets = rows.beside[None] if rows.beside is not None and clamp else None
        return fit_rows(rows.design[None], rows.goal[None], held_out, prior.T[None], clamp, offsets)

    def _silent_scales(self, layer: Layer) -> Float64Array:
        """Scales of the int8 weights, one per output."""
        tensor = self.int8.tensors[layer.linear.weights]
        assert tensor.quant is not None
        return np.broadcast_to(np.array(tensor.quant.scales), (layer.shape(self.int8)[0],))

    def _kept(self, layer: Layer) -> int:
        """Rows of one frame."""
        outputs, inputs = layer.shape(self.int8)
        wanted = max(LEAST_ROWS, ROWS_PER_INPUT * inputs)
        wanted = min(wanted, DESIGN_BYTES // (4 * (inputs + 2 * outputs)))
        return min(layer.positions(self.int8), max(1, -(-wanted // max(1, len(self.feeds)))))

    def _picked(self, layer: Layer, frame: int) -> npt.NDArray[np.intp]:
        positions = layer.positions(self.int8)
        rng = np.random.default_rng([self.seed, self.layers.index(layer), frame])
        return np.sort(rng.choice(positions, self._kept(layer), replace=False))

    def _beside(self, layer: Layer) -> str:
        """The other side of the one residual sum that a layer's result goes into, under its name in both graphs."""
        reader = only_reader(self.int8, layer.name)
        if reader is None or reader.name != "ADD" or layer.clamp is not None:
            return ""
        other = next((n for n in reader.inputs if n != layer.name), "")
        alike = (g.tensors.get(other) for g in (self.int8, self.floating))
        shape = self.int8.tensors[layer.name].shape
        is_known = all(t is not None and t.shape == shape and t.data is None for t in alike)
        exact = only_reader(self.floating, layer.name)
        is_same = exact is not None and exact.outputs == reader.outputs and set(exact.inputs) == set(reader.inputs)
        return other if is_known and is_same and self._is_before(other, layer) else ""

    def _is_before(self, name: str, layer: Layer) -> bool:
        """Whether a tensor is computed before a layer, so that it is not of what follows."""
        order = {n: i for i, op in enumerate(self.int8.ops) for n in op.outputs}
        return order.get(name, -1) < order[layer.name]

    def _clamp(self, layer: Layer) -> tuple[float, float] | None:
        """What the layer's results, or the sum they go into, are cut off at."""
        if not self._beside(layer):
            return layer.clamp
        summed = only_reader(self.floating, layer.name)
        ends = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0)}
        return ends.get(str(summed.options.get("fused_activation_function"))) if summed else None

    def aims(self, layers: Sequence[Layer]) -> Iterator[tuple[Layer, Array]]:
        """What each gave in the float network before it is cut off, with the other side of its sum; in order."""
        for part in self._parts(layers, 0):
            yield from zip(part, self._float_results(part), strict=True)

    def _parts(self, layers: Sequence[Layer], side: int) -> Iterator[list[Layer]]:
        """As many at a time as there is memory for, of their outputs (0) or inputs (1)."""
        part, size = list[Layer](), 0
        for layer in layers:
            size += 4 * self._kept(layer) * len(self.feeds) * layer.shape(self.int8)[side]
            if part and size > PASS_BYTES:
                yield part
                part, size = [], 0
            part.append(layer)
        if part:
            yield part

    def _float_results(self, layers: Sequence[Layer]) -> list[Array]:
        graph = self.floating
        beside = {layer.name: self._beside(layer) for layer in layers}
        names = [n for layer in layers for n in (layer.exact.source, beside[layer.name]) if n]
        exact = {layer.name: (layer.weights(graph).T, layer.exact.bias_values(graph)) for layer in layers}
        results: list[list[Array]] = [[] for _ in layers]
        for frame, values in enumerate(_tapped(graph, names, self.feeds)):
            for layer, result in zip(layers, results, strict=True):
                picked, (weights, bias) = self._picked(layer, frame), exact[layer.name]
                given = layer.rows(values[layer.exact.source], picked, len(weights)) @ weights + bias
                other = beside[layer.name]
                result.append((given + _at(values[other], picked) if other else given).astype(np.float32))
        return [np.concatenate(result) for result in results]

    def rows(self, graph: Graph, layer: Layer, aims: Array) -> Rows:
        """What a layer reads in ``graph``, and what it shall give for that.

        Args:
            graph: Where layers before it may have few bits already.
            layer: Of it.
            aims: Of the layer, as :meth:`aims` has them.
        """
        other, inputs = self._beside(layer), layer.shape(self.int8)[1]
        names = [n for n in (layer.linear.source, other) if n]
        designs, beside = [], []
        feeds = [stored(feed, graph) for feed in self.feeds]
        for frame, values in enumerate(_tapped(graph, names, feeds)):
            picked = self._picked(layer, frame)
            floats = {n: real(values[n], graph.tensors[n]) for n in names}
            designs.append(layer.rows(floats[layer.linear.source], picked, inputs))
            if other:
                beside.append(_at(floats[other], picked))
        if not other:
            return Rows(np.concatenate(designs), aims)
        summed = np.concatenate(beside)
        return Rows(np.concatenate(designs), aims - summed, summed)

    def _designs(self, layers: Sequence[Layer]) -> Iterator[tuple[Layer, Array]]:
        """What each reads in the int8 graph, rows x inputs; several in one pass."""
        for part in self._parts(layers, 1):
            rows: list[list[Array]] = [[] for _ in part]
            feeds = (stored(feed, self.int8) for feed in self.feeds)
            for frame, values in enumerate(_tapped(self.int8, [layer.linear.source for layer in part], feeds)):
                for layer, own in zip(part, rows, strict=True):
                    source = real(values[layer.linear.source], self.int8.tensors[layer.linear.source])
                    own.append(layer.rows(source, self._picked(layer, frame), layer.shape(self.int8)[1]))
            for layer, own in zip(part, rows, strict=True):
                yield layer, np.concatenate(own)


def _moments(design: Array) -> tuple[Float64Array, Float64Array]:
    """Mean and covariance of rows."""
    mean = design.mean(0, dtype=np.float64)
    return mean, products(design[None], design[None])[0] / len(design) - np.outer(mean, mean)


def _at(value: Array, picked: npt.NDArray[np.intp]) -> Array:
    return value.reshape(-1, value.shape[-1])[picked]


def _tapped(graph: Graph, names: Sequence[str], feeds: Sequence[Arrays] | Iterator[Arrays]) -> Iterator[Arrays]:
    """Values of tensors on every frame; what they do not need is not computed."""
    computed = tuple(dict.fromkeys(n for n in names if n not in graph.inputs))
    part = prune(dataclasses.replace(graph, outputs=computed)) if computed else graph

    def made() -> _Reader:
        return _Reader(Taps(part, computed) if computed else None)

    yield from over_frames(made, feeds)


@dataclass(frozen=True)
class _Reader:
    taps: Taps | None

    def __call__(self, feed: Arrays) -> Arrays:
        return {**feed, **(self.taps(feed) if self.taps else {})}
