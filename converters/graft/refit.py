"""The closed-form refit: walk a network's remaining layers in order and re-solve each linear one by ridge regression.

Two activations are carried through the walk for every live tensor: what the original network has there and what the
grafted one has now. A linear layer is solved from what it now receives to what it originally gave; where its output
goes into a residual sum whose other side is known already, to what that sum originally gave less that other side, so
the error of the skip path is corrected too. Where only a ReLU or a clip follows, errors that it hides are not fitted.

Source of the idea: similarity-guided layer sharing (arXiv 2410.11233) and model stitching; the layer-wise closed form
is the one of design.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.network.network import Array, Network, model_of, session_of
from multigraft.refit.linear_layer import HELD_OUT_EVERY, LinearLayer, positions_used
from multigraft.refit.ridge import Solution, fit_rows

CHUNK = 64
_FRAMES_FIRST = frozenset({"Conv", "ConvTranspose"})


@dataclass(frozen=True)
class LayerFit:
    """How well one layer could be re-solved.

    Attributes:
        node: The layer's output tensor.
        strength: The chosen ridge strength, relative to the input variance.
        relative_error: Squared error over the variance of the original output, on all fitted rows.
        rows: Rows used.
    """

    node: str
    strength: float
    relative_error: float
    rows: int


@dataclass(frozen=True)
class RefittedLayers:
    """New constants of the layers after the cut, by constant name, and how each layer went.

    ``nodes`` are the target's nodes after the cut with the inputs that name those constants.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]
    layers: tuple[LayerFit, ...]


@dataclass
class _Pair:
    """One live tensor for all frames: in the original network and in the grafted one."""

    original: npt.NDArray[Any]
    now: npt.NDArray[Any]


def refit(
    network: Network,
    cut: Mapping[str, tuple[Array, Array]],
    *,
    seed: int = 0,
) -> RefittedLayers:
    """Re-solve every linear layer of ``network`` behind a cut.

    Args:
        network: The target network.
        cut: For each tensor there, by name, what the network itself has, (frames, *shape), and what it will receive
            instead, same shape and same frames.
        seed: Picks the rows where not all are used.
    """
    start = max(i for i, n in enumerate(network.nodes) if not cut.keys().isdisjoint(n.output)) + 1
    nodes = network.nodes[start:]
    uses: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            uses[name] = index
    live = {name: _Pair(original, received) for name, (original, received) in cut.items()}
    constants: dict[str, Array] = {}
    fits: list[LayerFit] = []
    new_nodes: list[onnx.NodeProto] = []
    shifted: dict[int, onnx.NodeProto] = {}
    rng = np.random.default_rng(seed)
    for index, node in enumerate(nodes):
        layer = linear_layer(node, network.constants)
        solved: onnx.NodeProto = shifted.get(index, node)
        read = [n for n in node.input if n in live]
        was = {n: live[n].original for n in read}
        original_out = run_node(node, was, network.constants, network.opset)
        if layer is not None and node.input[0] in live:
            given = original_out[node.output[0]]
            bias = None if layer.geometry.takes_bias else bias_behind(nodes, node.output[0], network)
            solution, layer_fit = _solve_layer(network, nodes, index, layer, given, live, rng, bias is not None)
            new = layer.initializers(solution.weight, solution.intercept)
            solved, added = with_constants(node, new, f"{network.name}/{node.output[0]}")
            constants |= added
            if bias is not None:
                value = np.asarray(network.constants[bias.name] + solution.intercept[0], np.float32)
                behind = nodes[bias.index]
                name = f"{network.name}/{behind.output[0]}"
                shifted[bias.index], added = with_constants(behind, {bias.position: value}, name)
                constants |= added
            fits.append(layer_fit)
        new_nodes.append(solved)
        now = {n: live[n].now for n in read}
        now_out = run_node(solved, now, network.constants | constants, network.opset)
        for name in node.output:
            if name:
                live[name] = _Pair(original_out[name], now_out[name])
        for name in [n for n in live if uses.get(n, -1) <= index and n not in network.outputs]:
            del live[name]
    return RefittedLayers(tuple(new_nodes), constants, tuple(fits))


def run_node(
    node: onnx.NodeProto,
    inputs: Mapping[str, npt.NDArray[Any]],
    constants: Mapping[str, npt.NDArray[Any]],
    opset: int,
) -> dict[str, npt.NDArray[Any]]:
    """Run one node on all frames; convolutions in chunks, for memory: other nodes may have frames along any axis."""
    initializers = [onnx.numpy_helper.from_array(constants[n], n) for n in dict.fromkeys(node.input) if n in constants]
    outputs = [o for o in node.output if o]
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), [None] * v.ndim)
            for n, v in inputs.items()
        ],
        [onnx.ValueInfoProto(name=o) for o in outputs],
        initializers,
    )
    session = session_of(model_of(graph, opset), node.name)
    if not inputs:
        return dict(zip(outputs, session.run(outputs, {}), strict=True))
    frames = len(next(iter(inputs.values())))
    step = CHUNK if node.op_type in _FRAMES_FIRST and len(inputs) == 1 else frames
    if step >= frames:
        return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))
    parts = [session.run(outputs, {n: v[i : i + step] for n, v in inputs.items()}) for i in range(0, frames, step)]
    return {o: np.concatenate([p[k] for p in parts]) for k, o in enumerate(outputs)}


def _solve_layer(
    network: Network,
    nodes: list[onnx.NodeProto],
    index: int,
    layer: LinearLayer,
    wanted: npt.NDArray[Any],
    live: dict[str, _Pair],
    rng: np.random.Generator,
    is_shifted: bool,
) -> tuple[Solution, LayerFit]:
    node = nodes[index]
    pair = live[node.input[0]]
    skip: npt.NDArray[Any] | None = None
    total, other = sum_behind(nodes, node.output[0], network)
    ends = node.output[0]
    if other in live and live[other].now.shape == wanted.shape:
        skip, ends = live[other].now, total
        wanted = wanted + live[other].original - skip
    after = [n for n in nodes if ends in n.input]
    bounds = None if node.output[0] in network.outputs else clamp_bounds(after, network.constants)
    design, targets, offsets, per_frame = sampled_rows(layer, pair.now, wanted, skip if bounds else None, rng)
    held_out = (np.arange(design.shape[1]) // per_frame) % HELD_OUT_EVERY == 0
    has_intercept = layer.geometry.takes_bias or is_shifted
    solution = fit_rows(design, targets, held_out, layer.weight, bounds, offsets, has_intercept)
    return solution, LayerFit(node.output[0], solution.strength, solution.relative_error, design.shape[1])


@dataclass(frozen=True)
class Bias:
    """A constant that alone is added to a product: the index of the addition, its input, and the constant's name."""

    index: int
    position: int
    name: str


def bias_behind(nodes: Sequence[onnx.NodeProto], product: str, network: Network) -> Bias | None:
    """The bias that takes the intercept of a product that holds none itself, or None where nothing does."""
    readers = [i for i, n in enumerate(nodes) if product in n.input]
    if product in network.outputs or len(readers) != 1 or nodes[readers[0]].op_type != "Add":
        return None
    width = network.shapes[product][-1]
    for position, name in enumerate(nodes[readers[0]].input):
        bias = network.constants.get(name)
        if bias is not None and bias.ndim and bias.size == bias.shape[-1] == width:
            return Bias(readers[0], position, name)
    return None


def sum_behind(nodes: Sequence[onnx.NodeProto], output: str, network: Network) -> tuple[str, str]:
    """The sum of two that alone reads a tensor, and its other side; empty names where there is none."""
    after = [n for n in nodes if output in n.input]
    if len(after) != 1 or after[0].op_type != "Add" or output in network.outputs or len(set(after[0].input)) != 2:
        return "", ""
    return after[0].output[0], next(n for n in after[0].input if n != output)


def clamp_bounds(
    consumers: list[onnx.NodeProto], constants: Mapping[str, npt.NDArray[Any]]
) -> tuple[float, float] | None:
    """Bounds of the ReLU or clip that alone follows a tensor, or None."""
    if len(consumers) != 1:
        return None
    node = consumers[0]
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type == "Clip":
        limits = [float(constants[n]) if n in constants else None for n in node.input[1:3]] + [None, None]
        return (-np.inf if limits[0] is None else limits[0], np.inf if limits[1] is None else limits[1])
    return None


def sampled_rows(
    layer: LinearLayer,
    x: Array,
    y: Array,
    skip: npt.NDArray[Any] | None,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array | None, int]:
    """Design, targets and skip values of the rows used, frame by frame in equal numbers, within a memory bound."""
    frames = len(x)
    positions = layer.rows(y[:1]).shape[1]
    keep = positions_used(layer, positions, frames)
    designs, targets, offsets = [], [], []
    for i in range(0, frames, CHUNK):
        part = slice(i, i + CHUNK)
        picked = None
        if keep < positions:
            picked = rng.integers(0, positions, (len(x[part]), keep))
        designs.append(layer.design(x[part], picked))
        targets.append(layer.rows(y[part], picked))
        if skip is not None:
            offsets.append(layer.rows(skip[part], picked))
    added = np.concatenate(offsets, 1) if skip is not None else None
    return np.concatenate(designs, 1), np.concatenate(targets, 1), added, keep


def with_constants(
    node: onnx.NodeProto, solved: dict[int, Array], name: str
) -> tuple[onnx.NodeProto, dict[str, Array]]:
    """A copy of ``node`` that reads solved constants, and these as ``name/POSITION``."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    names = list(copy.input)
    added = {}
    for position, value in sorted(solved.items()):
        key = f"{name}/{position}"
        if position < len(names):
            names[position] = key
        else:
            names.append(key)
        added[key] = value
    del copy.input[:]
    copy.input.extend(names)
    return copy, added
