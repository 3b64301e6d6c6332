"""Says which layer suffers most from quantisation.

Two figures per operator, both signal-to-quantisation-noise ratios (SQNR, 10 log10 of the power of the float values over
the power of the difference): ``own_sqnr_db`` when the operator alone is quantised and gets what the float network would
give it, and ``sqnr_db`` with everything before it quantised too. The worst layer is the one with the smallest own
figure: it is the one to keep in float first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.quantising.ranges import activations
from multigraft.errors import ConversionError
from multigraft.tensors.quantisation import dequantise, quantise
from multigraft.tensors.specs import TensorSpec
from multigraft.tflite.graph import Graph, Op, Tensor

SILENT_DB = 120.0
"""Given where there is no difference at all; its negative where there is noise and no signal."""

_HUGE = 1e30
"""Values beyond stand for infinity (what maximum pooling is padded with) and have no error."""

_AT_ONCE = 48
"""Operators whose own interpreters and results are in memory together."""

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass(frozen=True)
class LayerError:
    """Quantisation error of one operator.

    Attributes:
        tensor: What it writes, which is its name in the network.
        operator: Its kind.
        sqnr_db: With everything before it quantised too, in dB.
        own_sqnr_db: With float values at its inputs, in dB.
    """

    tensor: str
    operator: str
    sqnr_db: float
    own_sqnr_db: float


@dataclass(frozen=True)
class LayerErrorReport:
    """All operators in running order."""

    layers: tuple[LayerError, ...]
    frames: int

    @property
    def worst(self) -> LayerError | None:
        """The operator with the smallest own SQNR; None if nothing was compared."""
        return min(self.layers, key=lambda layer: layer.own_sqnr_db, default=None)

    def below(self, sqnr_db: float) -> tuple[LayerError, ...]:
        """Operators with a smaller own SQNR, the noisiest first."""
        noisy = (layer for layer in self.layers if layer.own_sqnr_db < sqnr_db)
        return tuple(sorted(noisy, key=lambda layer: layer.own_sqnr_db))

    def without(self, tensors: Collection[str]) -> Self:
        """The same without some operators, by what they write."""
        return dataclasses.replace(self, layers=tuple(layer for layer in self.layers if layer.tensor not in tensors))

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``frames``, ``worst`` (tensor name or None), ``layers``."""
        worst = self.worst
        return {
            "frames": self.frames,
            "worst": worst.tensor if worst else None,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }


def layer_error(floating: Graph, quantised: Graph, feeds: Sequence[Arrays]) -> LayerErrorReport:
    """Compare every operator's result in both graphs; some operators and one frame are in memory at a time.

    Args:
        floating: The float graph.
        quantised: The same quantised, with equal names for equal tensors.
        feeds: Float values of the inputs, one entry per frame.
    """
    writers = quantised.producers()
    names = [n for n in activations(floating) if n in writers and n not in floating.inputs]
    shown = [n for n in names if writers[n].name not in _CONVERSIONS]
    layers: list[LayerError] = []
    if feeds:
        for first in range(0, len(shown), _AT_ONCE):
            layers += _compared(floating, quantised, shown[first : first + _AT_ONCE], {*names, *floating.inputs}, feeds)
    return LayerErrorReport(tuple(layers), len(feeds))


def _compared(
    floating: Graph, quantised: Graph, shown: Sequence[str], known: Collection[str], feeds: Sequence[Arrays]
) -> list[LayerError]:
    writers = quantised.producers()
    alone = {n: _Alone.of(quantised, writers[n], n, known) for n in shown}
    read = [source for one in alone.values() if one for source in one.sources.values() if source not in floating.inputs]
    float_taps, taps = Taps(floating, [*shown, *read]), Taps(quantised, shown)
    together, own = {n: NoiseRatio() for n in shown}, {n: NoiseRatio() for n in shown}
    for feed in feeds:
        truth = {n: v.clip(-_HUGE, _HUGE) for n, v in {**feed, **float_taps(feed)}.items()}
        values = taps(stored(feed, quantised))
        for name in shown:
            together[name].add(truth[name], real(values[name], quantised.tensors[name]))
            one = alone[name]
            if one is not None:
                try:
                    own[name].add(truth[name], one(truth))
                except ConversionError:
                    alone[name] = None
    figures = ((n, together[n].db, together[n].db if alone[n] is None else own[n].db) for n in shown)
    return [LayerError(n, writers[n].label, db, alone_db) for n, db, alone_db in figures]


class _Alone:
    """One operator of a quantised graph, fed with values of the float network."""

    def __init__(self, taps: Taps, sources: dict[str, str], graph: Graph, name: str) -> None:
        self._taps, self.sources, self._graph, self._name = taps, sources, graph, name

    @classmethod
    def of(cls, graph: Graph, op: Op, name: str, known: Collection[str]) -> Self | None:
        """None if it cannot be run alone."""
        sources = {n: _float_source(graph, n, known) for n in op.inputs if n and graph.constant(n) is None}
        if any(source not in known for source in sources.values()):
            return None
        tensors = [graph.tensors[n] for n in (*op.inputs, *op.outputs) if n]
        try:
            taps = Taps(Graph.of("one operator", sources, [name], [op], tensors), [name])
        except ConversionError:
            return None
        return cls(taps, sources, graph, name)

    def __call__(self, truth: Arrays) -> npt.NDArray[np.float32]:
        given = {n: _store(truth[source], self._graph.tensors[n]) for n, source in self.sources.items()}
        return real(self._taps(given)[self._name], self._graph.tensors[self._name])


def _float_source(graph: Graph, name: str, known: Collection[str]) -> str:
    """The tensor of the float network that ``name`` stores: itself, or what it is converted from."""
    writer = graph.producer(name)
    while name not in known and writer is not None and writer.name in _CONVERSIONS:
        name = writer.inputs[0]
        writer = graph.producer(name)
    return name


class NoiseRatio:
    """Signal-to-noise ratio over any number of frames."""

    def __init__(self) -> None:
        self._signal = self._noise = 0.0

    def add(self, true: npt.NDArray[Any], value: npt.NDArray[Any]) -> None:
        """One frame; values beyond :data:`_HUGE` are left out."""
        finite = np.abs(true) < _HUGE
        if not finite.all():
            true, value = true[finite], value[finite]
        exact = true.astype(np.float64).reshape(-1)
        difference = exact - value.reshape(-1)
        self._signal += float(exact @ exact)
        self._noise += float(difference @ difference)

    @property
    def db(self) -> float:
        """10 log10 of signal over noise power, in dB, within :data:`SILENT_DB` of 0: noise alone has the least."""
        if self._noise == 0:
            return SILENT_DB
        if self._signal == 0 or not np.isfinite(self._noise):
            return -SILENT_DB
        return float(np.clip(10 * (np.log10(self._signal) - np.log10(self._noise)), -SILENT_DB, SILENT_DB))


def sqnr_db(truth: Sequence[npt.NDArray[Any]], values: Sequence[npt.NDArray[Any]]) -> float:
    """The ratio of all frames together, in dB, within :data:`SILENT_DB` of 0."""
    ratio = NoiseRatio()
    for true, value in zip(truth, values, strict=True):
        ratio.add(true, value)
    return ratio.db


def stored(feed: Arrays, graph: Graph) -> Arrays:
    """Float values of the inputs as ``graph`` stores them."""
    return {n: _store(v, graph.tensors[n]) for n, v in feed.items()}


def real(value: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[np.float32]:
    """Float values of a stored tensor."""
    return dequantise(value, spec_of(tensor))


def spec_of(tensor: Tensor) -> TensorSpec:
    """What the manifest says about a tensor."""
    quant = tensor.quant
    if quant is None:
        return TensorSpec(tensor.name, tensor.shape, tensor.dtype)
    if not quant.per_tensor:
        raise ConversionError(f"tensor {tensor.name!r} at a boundary has several scales")
    return TensorSpec(tensor.name, tensor.shape, tensor.dtype, quant.scales[0], quant.zero_points[0])


def _store(value: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[Any]:
    if tensor.quant is None and tensor.dtype != "float32":
        # Whole numbers, such as letters, are stored as they are.
        return value.astype(tensor.dtype)
    return quantise(value, spec_of(tensor))
