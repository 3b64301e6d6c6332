"""A network with fewer hidden channels, in closed form: chosen by pivots, then every reader solved anew.

First the sums of every hidden layer are taken from the network as it is. They say which channels to keep, and what each
number of them costs in error; channels go where the error per multiply-accumulate saved is least. Then the layers are
walked in order: each reader is solved from what the network, thinned so far, gives it to what it originally made of it.

Source of the idea: GRAIL (arXiv 2602.23795), Gram matrix and ridge after narrowing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from multigraft.converters.graft.onnx_linear_layer import convolution, dense
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import LINEAR, Array, Network, node_macs
from multigraft.converters.thinning.hidden import Hidden, hidden_channels, mixing
from multigraft.converters.thinning.pivots import pivots
from multigraft.converters.thinning.sums import Indices, LayerSums, layer_sums
from multigraft.tensors.arrays import Float64Array

STEPS = 16
"""In how many steps a layer's channels go."""


@dataclass(frozen=True)
class ThinnedLayer:
    """Hidden channels of one layer.

    Attributes:
        name: What makes them, by its tensor.
        channels: How many there were.
        kept: How many are left.
        relative_error: Of what reads them, squared, over the variance of what was there.
    """

    name: str
    channels: int
    kept: int
    relative_error: float


@dataclass(frozen=True)
class Thinned:
    """What thinning made.

    Attributes:
        network: With fewer channels; the given one is as it was.
        layers: That have fewer channels.
        left: Linear layers whose channels are all left, since something beside one layer reads them.
    """

    network: Network
    layers: tuple[ThinnedLayer, ...]
    left: tuple[str, ...]


def thin(network: Network, frames: Frames, macs_share: float, *, seed: int = 0, report: Report = silent) -> Thinned:
    """Thin to ``macs_share`` of the multiply-accumulates, or as near as hidden channels go.

    Args:
        network: It stays untouched.
        frames: Unlabeled.
        macs_share: 0..1; 1 leaves the network as it is.
        seed: Picks the rows where not all are used.
        report: Takes a line per layer.
    """
    layers = hidden_channels(network)
    left = _left(network, layers)
    if macs_share >= 1 or not layers:
        return Thinned(network, (), left)
    orders, curves = [], []
    for number, hidden in enumerate(layers, 1):
        report(f"look at hidden channels of {network.name} ({number} of {len(layers)})")
        sums = layer_sums(network, network, hidden, frames, seed)
        orders.append(pivots(sums.covariance(), sums.importance()))
        curves.append(_curve(sums, orders[-1]))
    widths = allot(network, layers, curves, macs_share)
    now, solved = network, []
    for number, (hidden, order, width) in enumerate(zip(layers, orders, widths, strict=True), 1):
        if width == hidden.channels:
            continue
        report(f"thin {network.name}: {hidden.channels} to {width} channels ({number} of {len(layers)})")
        kept = np.sort(order[:width])
        weight, intercept, error = layer_sums(network, now, hidden, frames, seed).solve(kept)
        reader = mixing(now, now.nodes[hidden.reader])
        assert reader is not None
        now = _sliced(now, hidden, kept, weight, intercept)
        name = network.nodes[hidden.maker].output[0].split("/", 1)[1]
        solved.append(ThinnedLayer(name, hidden.channels, width, error))
    return Thinned(now, tuple(solved), left)


Curve = Mapping[int, float]
"""Number of kept channels to the error, relative."""


def _curve(sums: LayerSums, order: Indices) -> dict[int, float]:
    return {width: sums.solve(np.sort(order[:width]))[2] for width in _widths(sums.channels)}


def _widths(channels: int) -> list[int]:
    return sorted({max(1, round(channels * step / STEPS)) for step in range(1, STEPS + 1)})


def allot(network: Network, layers: Sequence[Hidden], curves: Sequence[Curve], macs_share: float) -> list[int]:
    """Channels of each layer: taken where the error per multiply-accumulate saved is least."""
    widths = [hidden.channels for hidden in layers]
    wanted = macs_share * network.macs * (1 + 1e-9)
    macs = _macs(network, layers, widths)
    while macs > wanted:
        best, price = None, np.inf
        for number, (width, curve) in enumerate(zip(widths, curves, strict=True)):
            for narrower in sorted((w for w in curve if w < width), reverse=True):
                tried = [*widths[:number], narrower, *widths[number + 1 :]]
                saved = macs - _macs(network, layers, tried)
                paid = max(curve[narrower] - curve[width], 0.0) / max(saved, 1)
                if paid < price:
                    best, price = tried, paid
                if macs - saved <= wanted:
                    break
        if best is None:
            break
        widths = best
        macs = _macs(network, layers, widths)
    return widths


def _macs(network: Network, layers: Sequence[Hidden], widths: Sequence[int]) -> float:
    share: dict[int, float] = {}
    for hidden, width in zip(layers, widths, strict=True):
        for index in (hidden.maker, *hidden.between, hidden.reader):
            share[index] = share.get(index, 1.0) * width / hidden.channels
    return sum(
        share.get(index, 1.0) * node_macs(node, network.constants, network.shapes)
        for index, node in enumerate(network.nodes)
    )


def _left(network: Network, layers: Sequence[Hidden]) -> tuple[str, ...]:
    makers = {hidden.maker for hidden in layers}
    return tuple(
        node.output[0].split("/", 1)[1]
        for index, node in enumerate(network.nodes)
        if node.op_type in LINEAR and index not in makers and node.output[0] not in network.outputs
    )


def _sliced(now: Network, hidden: Hidden, kept: Indices, weight: Float64Array, intercept: Float64Array) -> Network:
    """``now`` with ``kept`` channels alone, and a reader of these weights."""
    model = onnx.ModelProto()
    model.CopyFrom(now.model)
    nodes = model.graph.node
    maker = mixing(now, now.nodes[hidden.maker])
    assert maker is not None
    bias = _bias_axis(now.nodes[hidden.maker])
    _put(model, nodes[hidden.maker], 1, np.take(now.constants[nodes[hidden.maker].input[1]], kept, axis=bias))
    _put_bias(model, now, nodes[hidden.maker], kept)
    for index in hidden.between:
        node = nodes[index]
        _put(model, node, 1, now.constants[node.input[1]][kept])
        _put_bias(model, now, node, kept)
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = len(kept)
    reader = nodes[hidden.reader]
    for position, value in _reader_constants(now, hidden, kept, weight, intercept).items():
        _put(model, reader, position, value)
    del model.graph.value_info[:]
    return _like(now, model)


def _bias_axis(node: onnx.NodeProto) -> int:
    is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 1 if node.op_type == "Gemm" and not is_transposed else 0


def _put_bias(model: onnx.ModelProto, now: Network, node: onnx.NodeProto, kept: Indices) -> None:
    if len(node.input) > 2 and node.input[2]:
        bias = now.constants[node.input[2]]
        if bias.size > 1:
            _put(model, node, 2, bias.reshape(-1)[kept])


def _reader_constants(
    now: Network, hidden: Hidden, kept: Indices, weight: Float64Array, intercept: Float64Array
) -> dict[int, Array]:
    node = now.nodes[hidden.reader]
    shape = list(now.constants[node.input[1]].shape)
    shape[1 - _bias_axis(node)] = len(kept)
    view = convolution(node, tuple(shape)) if node.op_type == "Conv" else dense(node, (shape[0], shape[1]))
    return view.initializers(weight, intercept)


def _put(model: onnx.ModelProto, node: onnx.NodeProto, position: int, value: Array) -> None:
    """Let ``node`` alone read another constant: others may read the one that it read."""
    name = f"{node.output[0]}/thin/{position}"
    for old in [i for i in model.graph.initializer if i.name == name]:
        model.graph.initializer.remove(old)
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    while len(node.input) <= position:
        node.input.append("")
    node.input[position] = name


def _like(network: Network, model: onnx.ModelProto) -> Network:
    read = {name for node in model.graph.node for name in node.input}
    used = [i for i in model.graph.initializer if i.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
    made = Network(
        network.name,
        model,
        network.preprocessing,
        network.kind,
        network.labels,
        network.source_sha256,
        network.metadata,
    )
    made.answer, made.on = copy.copy(network.answer), network.on
    return made
