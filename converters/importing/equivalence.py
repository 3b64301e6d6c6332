"""Runs what was read, and what was made of it, in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import onnx

from multigraft.converters.importing.onnx_reader import refuse_unsupported
from multigraft.converters.network.network import session_of
from multigraft.errors import InputError, one_line


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
