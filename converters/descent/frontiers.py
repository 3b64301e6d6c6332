"""Sets of tensors at which a network of many branches can be cut where it has no single one.

A detector of several scales or a U-shaped network has long stretches in which every path passes through no single
tensor. What is alive there between two layers is a frontier: all that comes behind reads these tensors alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from multigraft.converters.descent.common_part import floats_of, is_plumbing
from multigraft.converters.network.alive import alive_behind
from multigraft.converters.network.network import ACTIVATIONS, LINEAR, Network, node_macs, node_weights

LEAST_LAYERS = 4
"""A stretch without a cut point has to hold so many linear layers: inside of a residual block one waits for its end."""

LEAST_SHARE = 0.25
"""It has to hold so much of the network's weights or multiply-accumulates."""

MOST_IN_A_STRETCH = 6
MOST_TENSORS = 8


def frontiers_between_cuts(network: Network, end: int) -> list[tuple[str, ...]]:
    """Sets of tensors, from shallow to deep, each in the order in which they are written.

    Args:
        network: It.
        end: Number of nodes that are looked at.
    """
    found = []
    cuts = [-1, *(p.node_index for p in network.cut_points), len(network.nodes) - 1]
    for first, last in itertools.pairwise(sorted(set(cuts))):
        if _is_long(network, first + 1, last + 1):
            states = list(_smallest_states(network, first + 1, min(last + 1, end)))
            found += _spread(states)
    return found


def _is_long(network: Network, first: int, end: int) -> bool:
    nodes = network.nodes[first:end]
    layers = [n for n in nodes if n.op_type in LINEAR and node_weights(n, network.constants)]
    if len(layers) < LEAST_LAYERS:
        return False
    weights = sum(node_weights(n, network.constants) for n in layers)
    macs = sum(node_macs(n, network.constants, network.shapes) for n in layers)
    return weights >= LEAST_SHARE * network.weights or macs >= LEAST_SHARE * network.macs


def _smallest_states(network: Network, first: int, end: int) -> Iterator[tuple[str, ...]]:
    """For each stretch between two linear layers what is alive where that is least, the latest of equal ones."""
    best: tuple[str, ...] | None = None
    floats = floats_of(network)
    behind = alive_behind(network.nodes, (network.input,), network.outputs)
    for index, (node, alive) in enumerate(zip(network.nodes[:end], behind, strict=False)):
        if node.op_type in LINEAR and node_weights(node, network.constants):
            if best is not None:
                yield best
            best = None
        if index < first or not 2 <= len(alive) <= MOST_TENSORS or not _can_end(network, alive, floats):
            continue
        if best is None or len(alive) <= len(best):
            best = alive
    if best is not None:
        yield best


def _can_end(network: Network, alive: Sequence[str], floats: set[str]) -> bool:
    if not floats.issuperset(alive) or not set(network.outputs).isdisjoint(alive):
        return False
    reads = [n for n in network.nodes if not set(alive).isdisjoint(n.input)]
    writers = [n for n in network.nodes if not set(alive).isdisjoint(n.output)]
    return not any(n.op_type in ACTIVATIONS for n in reads) and not any(is_plumbing(network, n) for n in writers)


def _spread(states: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    count = len(states)
    if count <= MOST_IN_A_STRETCH:
        return states
    return [states[k * (count - 1) // (MOST_IN_A_STRETCH - 1)] for k in range(MOST_IN_A_STRETCH)]
