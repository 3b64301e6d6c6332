"""Shuffled channels: a Reshape, a Transpose and a Reshape that together change nothing but their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from multigraft.converters.network.network import Network, attributes
from multigraft.converters.thinning.layout import Places


def shuffled(network: Network, index: int, axis: int) -> Places | None:
    """Which channel of what node ``index`` reads is at each place behind the two nodes after it, or None.

    Args:
        network: Of the nodes.
        index: Of a Reshape, the tensor of which a Transpose alone reads, and that one's a Reshape.
        axis: Of the channels it reads, that of the batch included: those of a convolution are looked at alone.
    """
    if axis != 1:
        return None
    nodes, shapes = network.nodes[index : index + 3], network.shapes
    if [node.op_type for node in nodes] != ["Reshape", "Transpose", "Reshape"]:
        return None
    for first, second in ((nodes[0], nodes[1]), (nodes[1], nodes[2])):
        name = first.output[0]
        if second.input[0] != name or name in network.outputs or sum(name in n.input for n in network.nodes) != 1:
            return None
    given, parted, made = (shapes.get(name) for name in (nodes[0].input[0], nodes[0].output[0], nodes[2].output[0]))
    said: dict[str, Any] = attributes(nodes[1])
    order = said.get("perm")
    if given is None or parted is None or made != given or len(given) < 2 or not order or order[0] != 0:
        return None
    channels = np.arange(given[0]).reshape(-1, *[1] * (len(given) - 1))
    moved = np.broadcast_to(channels, given).reshape(parted).transpose([axis - 1 for axis in order[1:]]).reshape(given)
    found: Places = moved.reshape(given[0], -1)[:, 0]
    return found if np.array_equal(moved, np.broadcast_to(found.reshape(channels.shape), given)) else None
