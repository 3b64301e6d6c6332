"""The second model of a bundle, for interpreters that cannot run the first."""

from __future__ import annotations

import dataclasses

from multigraft.converters.binary.stored_signs import with_stored_signs
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.packing.finishing import Conversion
from multigraft.tflite.operators import BINARY


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
