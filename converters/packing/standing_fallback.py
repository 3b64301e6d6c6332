"""Quantised networks with bits, again in stock operators: what they stand as in the fallback of a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multigraft.converters.binary.stock_operators import in_stock_operators
from multigraft.converters.conversion.interpreters import WholeFile
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.packing.verify import random_inputs
from multigraft.errors import ConversionError
from multigraft.runtime.self_test import MAX_RMS, deviation
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Model
from multigraft.tflite.operators import BINARY

COMPARED = 8
"""Random inputs on which both forms are compared."""


def stock_networks(networks: Sequence[StandingNetwork], spread: dict[str, float]) -> tuple[StandingNetwork, ...] | None:
    """``networks`` with their bits as ordinary layers; None where none has any, or one has to keep them.

    Args:
        networks: As their files are.
        spread: Task output in the bundle to by how much kernels differ there (``rms`` of
            :data:`multigraft.bundle.manifest.SPREAD`).

    Raises:
        ConversionError: The two forms answer otherwise, by more than kernels do.
    """
    if not any(op.custom_code in BINARY for n in networks for op in n.graph.ops):
        return None
    made = []
    for network in networks:
        graph = in_stock_operators(network.graph)
        if graph is None:
            return None
        content = tflite_file.write(Model((graph,)))
        stock = dataclasses.replace(network, graph=graph, content=content)
        _compare(network, stock, spread)
        made.append(stock)
    return tuple(made)


def _compare(network: StandingNetwork, stock: StandingNetwork, spread: dict[str, float]) -> None:
    first, second = WholeFile(network.content), WholeFile(stock.content)
    (source,) = network.graph.inputs
    pairs = [(first(x[source]), second(x[source])) for x in random_inputs(network.graph, COMPARED)]
    for place, output in enumerate(network.graph.outputs):
        wanted, given = (np.stack([pair[side][place] for pair in pairs]) for side in (0, 1))
        off = deviation(wanted, given)
        if not off <= max(MAX_RMS, 2 * spread.get(f"{network.name}/{output}", 0.0)):
            raise ConversionError(
                f"output {output} of {network.path} differs by {off:.2g} of its deviation (RMS) in stock operators",
                "report this as a bug of multigraft with the file, and leave the fallback out by --no-fallback",
            )
