"""Whether a rewritten graph still computes the same, in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.importing.node_names import one_line
from multigraft.converters.importing.onnx_reader import refuse_unsupported
from multigraft.converters.network.network import session_of
from multigraft.errors import InputError

TOLERANCE = 1e-3
"""Largest difference after rewriting, relative to the largest output; float32 folding stays below 1e-4."""

ABSOLUTE_TOLERANCE = 1e-4
"""Difference that counts as none in an output that hardly moves (a sigmoid near 0): rounding before it is as large as
it is there. What differs by more than :data:`SOUND` of the output's size is another computation, however small."""

SOUND = 0.1

Arrays = Sequence[npt.NDArray[Any]]


def runner(model: onnx.ModelProto, where: str) -> Callable[[Mapping[str, npt.NDArray[Any]]], list[npt.NDArray[Any]]]:
    """A function from feeds by input name to all outputs.

    Raises:
        UnsupportedOperatorError: onnxruntime lacks an operator that multigraft does not take either.
        InputError: onnxruntime refuses the model; or, when called, the feed.
    """
    try:
        session = session_of(model, where)
    except InputError:
        # What the runtime lacks is named by node where we know it.
        refuse_unsupported(model, where)
        raise

    def run(feed: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        try:
            outputs: list[npt.NDArray[Any]] = session.run(None, dict(feed))
            return outputs
        except Exception as error:
            raise InputError(f"{where} fails in onnxruntime: {one_line(error)}", "export it with batch 1") from error

    return run


def difference(new: Arrays, old: Arrays) -> float:
    """Largest difference of any output, relative to the largest absolute value of that output; inf if shapes differ.

    Where it is below :data:`SOUND`, outputs smaller than 0.1 count as being as large, so that
    :data:`ABSOLUTE_TOLERANCE` is :data:`TOLERANCE` of them.
    """
    worst = 0.0
    for a, b in zip(new, old, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf
        finite = np.isfinite(b)
        x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
        size = np.abs(y).max(initial=float(np.finfo(np.float32).tiny))
        distance = float(np.abs(x - y).max(initial=0.0))
        if distance <= SOUND * size:
            size = max(size, ABSOLUTE_TOLERANCE / TOLERANCE)
        worst = max(worst, distance / size)
    return worst
