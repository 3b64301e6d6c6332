"""Which channels can go: those between two linear layers that nothing else reads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.network.network import Network
from multigraft.refit.linear_layer import LinearLayer

ACTING = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Softplus", "Gelu")
PER_CHANNEL = frozenset((*ACTING, "MaxPool", "AveragePool", "GlobalAveragePool", "Identity"))
"""Operators that compute every channel from itself alone, with constants that are the same for all."""


@dataclass(frozen=True)
class Hidden:
    """Channels that one linear layer makes and one other reads.

    Attributes:
        maker: Index of the node that makes them.
        between: Indices of depthwise convolutions on the way.
        reader: Index of the node that reads them.
        tensor: What the reader reads.
        channels: How many there are.
        skip: What a residual sum adds to the reader's output, or empty.
        total: That sum, or the reader's output.
    """

    maker: int
    between: tuple[int, ...]
    reader: int
    tensor: str
    channels: int
    skip: str
    total: str


def hidden_channels(network: Network) -> tuple[Hidden, ...]:
    """All of a network, in the order in which they run."""
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(network.nodes):
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(index)
    found = (_behind(network, index, readers) for index in range(len(network.nodes)))
    return tuple(one for one in found if one is not None)


def mixing(network: Network, node: onnx.NodeProto) -> LinearLayer | None:
    """The layer of a node in which every output reads every input channel, or None."""
    if node.op_type not in ("Conv", "Gemm"):
        return None
    layer = linear_layer(node, network.constants)
    return layer if layer is not None and layer.geometry.groups == 1 else None


def _behind(network: Network, index: int, readers: dict[str, list[int]]) -> Hidden | None:
    node = network.nodes[index]
    layer = mixing(network, node)
    if layer is None:
        return None
    channels, tensor = layer.weight.shape[2], node.output[0]
    between: list[int] = []
    while tensor not in network.outputs:
        after = readers.get(tensor, [])
        if len(after) == 2 and (joined := _gated(network, tensor, after)):
            tensor = joined
            continue
        if len(after) != 1 or network.nodes[after[0]].input[0] != tensor:
            return None
        following = network.nodes[after[0]]
        if mixing(network, following) is not None:
            return _read(network, index, tuple(between), after[0], tensor, channels, readers)
        if _is_depthwise(network, following, channels):
            between.append(after[0])
        elif following.op_type == "Flatten":
            if network.shapes[tensor] != (channels, 1, 1):
                return None
        elif following.op_type not in PER_CHANNEL or any(
            name not in network.constants or network.constants[name].size > 1 for name in following.input[1:] if name
        ):
            return None
        tensor = following.output[0]
    return None


def _gated(network: Network, tensor: str, after: list[int]) -> str:
    """What x * sigmoid(x) writes, where that is what follows."""
    gate, product = (network.nodes[i] for i in after)
    is_gate = gate.op_type in ("Sigmoid", "HardSigmoid") and product.op_type == "Mul"
    return product.output[0] if is_gate and set(product.input) == {tensor, gate.output[0]} else ""


def _is_depthwise(network: Network, node: onnx.NodeProto, channels: int) -> bool:
    if node.op_type != "Conv" or linear_layer(node, network.constants) is None:
        return False
    return network.constants[node.input[1]].shape[:2] == (channels, 1)


def _read(
    network: Network,
    maker: int,
    between: tuple[int, ...],
    reader: int,
    tensor: str,
    channels: int,
    readers: dict[str, list[int]],
) -> Hidden:
    output = network.nodes[reader].output[0]
    after, skip, total = readers.get(output, []), "", output
    if len(after) == 1 and output not in network.outputs and network.nodes[after[0]].op_type == "Add":
        others = [name for name in network.nodes[after[0]].input if name != output]
        if len(others) == 1 and network.shapes.get(others[0]) == network.shapes[output]:
            skip, total = others[0], network.nodes[after[0]].output[0]
    return Hidden(maker, between, reader, tensor, channels, skip, total)
