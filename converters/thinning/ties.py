"""What an operator does with channels: reads all of them for each it writes, works on each alone, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.network.network import ACTIVATIONS, Network, attributes
from multigraft.errors import UnsupportedOperatorError
from multigraft.refit.linear_layer import LinearLayer

PER_CHANNEL = (ACTIVATIONS - {"PRelu"}) | {"Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
"""Operators that compute every channel from itself alone, with constants that are the same for all."""

ELEMENTWISE = frozenset(("Add", "Sub", "Mul", "Div", "PRelu", "Min", "Max"))
SPATIAL = frozenset(("Resize", "Pad"))
"""Operators whose constants say, axis by axis, what becomes of a tensor's size."""

MEANS = frozenset(("ReduceMean", "ReduceMax", "ReduceSum"))
RESHAPING = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators that leave values in their order."""

Constants = Mapping[str, npt.NDArray[Any]]


def solvable(node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> LinearLayer | None:
    """The layer of a node, or None where it is not linear or linear in a way that cannot be solved: it stays whole."""
    try:
        return linear_layer(node, constants)
    except UnsupportedOperatorError:
        return None


def mixing(network: Network, node: onnx.NodeProto) -> LinearLayer | None:
    """The layer of a node in which every output reads every input channel, or None."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    layer = solvable(node, network.constants)
    return layer if layer is not None and layer.geometry.groups == 1 and len(node.output) == 1 else None


def is_between(
    network: Network, node: onnx.NodeProto, given: Sequence[str], layer: LinearLayer | None, axis: int, width: int
) -> bool:
    """Whether a node computes every channel from itself alone, and gives them where it has them.

    Args:
        network: That it is part of.
        node: With one output.
        given: What it reads that is no constant.
        layer: What it is if linear, or None.
        axis: Of the channels, that of the batch included.
        width: How many it reads along that axis.
    """
    shapes, constants = network.shapes, network.constants
    if len(node.output) != 1 or any(_width(shapes[name], axis) != width for name in (*given, node.output[0])):
        return False
    if any(len(shapes[name]) != len(shapes[given[0]]) for name in given):
        return False
    # Of tokens the features are the channels, and these operators work along or between those.
    if axis != 1 and (layer is not None or "Pool" in node.op_type):
        return False
    if layer is not None:
        return node.op_type == "BatchNormalization" or (
            node.op_type == "Conv" and constants[node.input[1]].shape[:2] == (width, 1)
        )
    if node.op_type in PER_CHANNEL:
        return all(constants[n].size <= 1 for n in node.input[1:] if n)
    if node.op_type in MEANS:
        said: dict[str, Any] = attributes(node)
        axes, rank = said.get("axes"), len(shapes[given[0]]) + 1
        if axes is None and len(node.input) > 1 and node.input[1]:
            axes = constants[node.input[1]].tolist()
        if axes is None:
            return False
        reduced = {int(a) % rank for a in axes}
        # Axes in front of the channels' that go move it, to where another may happen to have as many places.
        stays = bool(said.get("keepdims", 1)) or min(reduced, default=rank) > axis
        return stays and not {0, axis} & reduced
    if node.op_type in SPATIAL:
        return _leaves_channels(node, constants, axis, len(shapes[given[0]]) + 1)
    # A constant of a higher rank would put its own axis where the channels are.
    if node.op_type not in ELEMENTWISE or len(shapes[node.output[0]]) != len(shapes[given[0]]):
        return False
    return all(
        constant_axis(constants[n].shape, axis, width, len(shapes[given[0]])) is not None
        for n in node.input
        if n in constants
    )


def has_constants(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether a node between has constants that channels are taken from."""
    if node.op_type in PER_CHANNEL or node.op_type in MEANS or node.op_type in SPATIAL:
        return False
    if node.op_type in RESHAPING:
        return node.op_type == "Reshape"
    return any(n in constants and constants[n].size > 1 for n in node.input)


def _width(shape: tuple[int, ...], axis: int) -> int:
    return shape[axis - 1] if axis <= len(shape) else 0


def _leaves_channels(node: onnx.NodeProto, constants: Constants, axis: int, rank: int) -> bool:
    """Whether a Resize or a Pad has a constant for each axis, and those of frames and channels change nothing."""
    given = [constants.get(name) if name else None for name in [*node.input, "", "", ""]]
    if any(name and name not in constants for name in node.input[1:]):
        return False
    if node.op_type == "Resize":
        scales, sizes = given[2:4]
        # Sizes are absolute: they hold the number of channels.
        if scales is None or scales.size != rank or sizes is not None:
            return False
        crops = attributes(node).get("coordinate_transformation_mode") == b"tf_crop_and_resize"
        return not crops and bool(scales[0] == scales[axis] == 1)
    pads, axes = given[1], given[3]
    if pads is None:
        return False
    padded = range(rank) if axes is None else [int(a) % rank for a in axes.ravel()]
    by_axis = dict(zip(padded, pads.reshape(2, -1).T.tolist(), strict=True))
    return not any(any(by_axis.get(one, ())) for one in (0, axis))


def constant_axis(shape: tuple[int, ...], axis: int, count: int, rank: int) -> int | None:
    """Where a constant that is broadcast over a tensor has its channels.

    Args:
        shape: Of the constant.
        axis: Of the tensor's channels, that of the batch included.
        count: Of the channels.
        rank: Of the tensor, without the batch.

    Returns:
        The axis; -1 where one value serves all channels; None where it has another number of channels.
    """
    if int(np.prod(shape)) <= 1:
        return -1
    place = axis - (rank + 1 - len(shape))
    if place < 0 or shape[place] == 1:
        return -1
    return place if shape[place] == count else None
