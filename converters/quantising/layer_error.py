"""Says which layer suffers most from quantisation.

Two figures per operator, both signal-to-quantisation-noise ratios (SQNR, 10 log10 of the power of the float values over
the power of the difference): ``own_sqnr_db`` when the operator alone is quantised and gets what the float network would
give it, and ``sqnr_db`` with everything before it quantised too. The worst layer is the one with the smallest own
figure: it is the one to keep in float first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``frames``, ``worst`` (tensor name or None), ``layers``."""
        worst = self.worst
        return {
            "frames": self.frames,
            "worst": worst.tensor if worst else None,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }


def layer_error(floating: Graph, quantised: Graph, feeds: Sequence[Arrays]) -> LayerErrorReport:
    """Compare every operator's result in both graphs.

    Args:
        floating: The float graph.
        quantised: The same quantised, with equal names for equal tensors.
        feeds: Float values of the inputs, one entry per frame.
    """
    names = [n for n in activations(floating) if n in quantised.tensors and n not in floating.inputs]
    writers = quantised.producers()
    names = [n for n in names if n in writers]
    if not names or not feeds:
        return LayerErrorReport((), len(feeds))
    float_taps, taps = Taps(floating, names), Taps(quantised, names)
    reference = [{n: v.clip(-_HUGE, _HUGE) for n, v in {**feed, **float_taps(feed)}.items()} for feed in feeds]
    values = [taps(stored(feed, quantised)) for feed in feeds]
    layers = []
    for name in names:
        op, truth = writers[name], [r[name] for r in reference]
        if op.name in _CONVERSIONS:
            continue
        together = sqnr_db(truth, [real(v[name], quantised.tensors[name]) for v in values])
        layers.append(LayerError(name, op.label, together, _own(quantised, op, name, reference, truth, together)))
    return LayerErrorReport(tuple(layers), len(feeds))


def _own(
    graph: Graph, op: Op, name: str, reference: Sequence[Arrays], truth: Sequence[npt.NDArray[Any]], together: float
) -> float:
    """SQNR of ``op`` alone; ``together`` if it cannot be run alone."""
    sources = {n: _float_source(graph, n) for n in op.inputs if n and graph.constant(n) is None}
    if any(source not in reference[0] for source in sources.values()):
        return together
    tensors = [graph.tensors[n] for n in (*op.inputs, *op.outputs) if n]
    alone = Graph.of("one operator", sources, [name], [op], tensors)
    try:
        taps = Taps(alone, [name])
        values = [
            taps({n: _store(r[source], graph.tensors[n]) for n, source in sources.items()})[name] for r in reference
        ]
    except ConversionError:
        return together
    return sqnr_db(truth, [real(v, graph.tensors[name]) for v in values])


def _float_source(graph: Graph, name: str) -> str:
    """The tensor of the float network that ``name`` stores, seen through conversions."""
    writer = graph.producer(name)
    while writer is not None and writer.name in _CONVERSIONS:
        name = writer.inputs[0]
        writer = graph.producer(name)
    return name


def sqnr_db(truth: Sequence[npt.NDArray[Any]], values: Sequence[npt.NDArray[Any]]) -> float:
    """10 log10 of signal power over noise power, in dB, within :data:`SILENT_DB` of 0: noise alone has the least."""
    signal = noise = 0.0
    for true, value in zip(truth, values, strict=True):
        finite = np.abs(true) < _HUGE
        signal += float(np.square(true[finite], dtype=np.float64).sum())
        noise += float(np.square(true[finite].astype(np.float64) - value[finite].astype(np.float64)).sum())
    if noise == 0:
        return SILENT_DB
    if signal == 0:
        return -SILENT_DB
    return min(SILENT_DB, max(-SILENT_DB, 10 * float(np.log10(signal / noise))))


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
    return quantise(value, spec_of(tensor))
