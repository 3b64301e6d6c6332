"""A float .tflite file as the ONNX model that it computes, with channels first, compared with the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from multigraft.converters.importing.tflite.equality import compare
from multigraft.converters.importing.tflite.loading import TfliteNetwork, checked, load, refuse_operators
from multigraft.converters.importing.tflite.operators import KNOWN
from multigraft.converters.importing.tflite.translate import translate
from multigraft.converters.job.progress import Report, silent
from multigraft.errors import InputError


def read_tflite(path: Path, report: Report = silent, shape: Sequence[int] | None = None) -> onnx.ModelProto:
    """A float network as an ONNX model, float32; a picture input and outputs that are pictures have channels first.

    Args:
        path: Of the file; weights may be float16, int8 (dynamic range) or sparse.
        report: Takes a line for what was rounded or rewritten.
        shape: Of its input without the batch, in the order of the file, where it leaves that open.

    Raises:
        InputError: It is missing, damaged, no .tflite file, quantised, or leaves its sizes open without ``shape``.
        UnsupportedOperatorError: An operator has no form in ONNX; it is named.
        ConversionError: What was made of it computes something else.
    """
    network = load(path, shape)
    if network.is_quantised:
        raise InputError(
            f"{path} computes with integers or bits, so that it joins a bundle as it is and shares no trunk",
            "give the float32 .tflite that it was made of, or leave its task out here",
        )
    return to_onnx(network, report)


def to_onnx(network: TfliteNetwork, report: Report = silent) -> onnx.ModelProto:
    """As :func:`read_tflite`, of a file that was read."""
    refuse_operators(network.graph, KNOWN, str(network.path))
    content = checked(network)
    translated = translate(network.graph, str(network.path))
    compare(translated, network, content)
    if network.holds_integer_weights:
        report(f"note: {network.path.name} has weights in 8 bits; they are taken as float32, rounded as they are")
    elif any(t.dtype == "float16" for t in network.model.main.tensors.values()):
        report(f"note: {network.path.name} has weights in float16; they are cast to float32")
    return translated.model
