"""The second model of a bundle, for interpreters that cannot run the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multigraft.converters.binary.stock_operators import in_stock_operators
from multigraft.converters.binary.stored_signs import with_stored_signs
from multigraft.converters.conversion.interpreters import WholeFile
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.verify import random_inputs
from multigraft.errors import ConversionError
from multigraft.runtime.self_test import MAX_RMS, deviation
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Model
from multigraft.tflite.operators import BINARY

COMPARED_INPUTS = 8
"""Random inputs on which a quantised network and its form in stock operators are compared."""


def with_fallback(conversion: Conversion, is_asked: bool = True, report: Report = silent) -> Conversion:
    """``conversion`` with a fallback, where its model takes more than a stock interpreter.

    Binary operators take the delegate: the same network with its layers of -1 and 1 as ordinary ones becomes the
    fallback, cut into the same segments and verified as the model was. Weights of few bits have theirs already.

    Args:
        conversion: Of any precision.
        is_asked: False leaves every fallback out.
        report: Takes a line for each step.

    Raises:
        ConversionError: Segments and uncut fallback differ, or an interpreter does not run them.
    """
    if not is_asked:
        return dataclasses.replace(conversion, fallback=None)
    finishing = conversion.finishing
    if finishing is None or conversion.fallback is not None or not _needs_delegate(conversion):
        return conversion
    report("making the fallback: the same network in operators that every interpreter has")
    graph = with_stored_signs(finishing.quantised.graph)
    return dataclasses.replace(conversion, fallback=finishing(graph, layers=conversion.layer_error).bundle)


def _needs_delegate(conversion: Conversion) -> bool:
    return any(BINARY.intersection(segment.operators) for segment in conversion.bundle.manifest.segments)


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
    pairs = [(first(x[source]), second(x[source])) for x in random_inputs(network.graph, COMPARED_INPUTS)]
    for place, output in enumerate(network.graph.outputs):
        wanted, given = (np.stack([pair[side][place] for pair in pairs]) for side in (0, 1))
        off = deviation(wanted, given)
        if not off <= max(MAX_RMS, 2 * spread.get(f"{network.name}/{output}", 0.0)):
            raise ConversionError(
                f"output {output} of {network.path} differs by {off:.2g} of its deviation (RMS) in stock operators",
                "report this as a bug of multigraft with the file, and leave the fallback out by --no-fallback",
            )
