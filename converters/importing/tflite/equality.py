"""Whether what was made of a .tflite file computes the same as the interpreter does with the file."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Runner, main_signature
from multigraft.converters.importing.tflite.layouts import Form, to_first
from multigraft.converters.importing.tflite.loading import TfliteNetwork
from multigraft.converters.importing.tflite.translate import Translated, translate
from multigraft.converters.network.closeness import CHECKS, TOLERANCE, difference
from multigraft.converters.network.network import session_of
from multigraft.errors import ConversionError, MultigraftError
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph, Model
from multigraft.tflite.tflite_file import write

Array = npt.NDArray[Any]

_SATURATING = ("LOGISTIC", "SOFTMAX", "TANH")
_RESHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def compare(translated: Translated, network: TfliteNetwork, content: bytes) -> float:
    """Run both on random inputs; returns the largest difference, relative to an output's size.

    Args:
        translated: What was made.
        network: The file. Where its weights are integers the interpreter rounds values, too, and is no measure.
        content: Its graph with constants computed, checked.

    Raises:
        ConversionError: They differ by more than :data:`multigraft.converters.network.closeness.TOLERANCE`.
    """
    worst = _worst(translated, network.graph, _reference(network, content), str(network.path))
    if worst > TOLERANCE and (before := _before_saturation(network.graph)) != network.graph:
        # A sigmoid of -20 is rounded to zero by the one, and to 2e-9 by the other.
        model = write(Model((before,), (main_signature(before),)))
        worst = _worst(translate(before, str(network.path)), before, model, str(network.path))
    if not worst <= TOLERANCE:
        raise ConversionError(
            f"{network.path} becomes an ONNX model whose outputs differ by {worst:.2g} of their size",
            "report this as a bug of multigraft with the file",
        )
    return worst


def _worst(translated: Translated, graph: Graph, content: bytes, where: str) -> float:
    reference, session = Runner(content), session_of(translated.model, where)
    names = [i.name for i in translated.model.graph.input]
    rng = np.random.default_rng(0)
    worst = 0.0
    for number in range(CHECKS):
        given = {n: _random(rng, graph.tensors[n].shape, graph.tensors[n].dtype, number) for n in graph.inputs}
        answers = reference(given)
        values = [_in_form(given[n], form) for n, form in zip(graph.inputs, translated.inputs, strict=True)]
        found = session.run(None, dict(zip(names, values, strict=True)))
        outputs = zip(dict.fromkeys(graph.outputs), translated.outputs, strict=True)
        worst = max(worst, difference(found, [_in_form(answers[n], form) for n, form in outputs]))
    return worst


def _in_form(value: Array, form: Form) -> Array:
    return value.transpose(to_first(value.ndim)) if form == "first" else value


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, number: int) -> Array:
    if dtype != "float32":
        return rng.integers(0, 2, shape).astype(dtype)
    # Networks take pixels of 0..1 or -1..1.
    return rng.uniform(-1.0 if number else 0.0, 1.0, shape).astype(np.float32)


def _before_saturation(graph: Graph) -> Graph:
    """``graph`` that ends before the sigmoids at its end."""
    producers = graph.producers()
    ends = []
    for name in graph.outputs:
        op = producers.get(name)
        while op is not None and op.name in _RESHAPING:
            op = producers.get(op.inputs[0])
        ends.append(op.inputs[0] if op is not None and op.name in _SATURATING else name)
    return dataclasses.replace(graph, outputs=tuple(ends))


def _reference(network: TfliteNetwork, content: bytes) -> bytes:
    """The file itself where an interpreter can be given it, for its constants are part of what is compared."""
    if network.holds_integer_weights or any(op.name == "DENSIFY" for op in network.model.main.ops):
        return content
    try:
        check_tflite(network.content, str(network.path))
    except MultigraftError:
        return content
    return write(Model(network.model.subgraphs, (main_signature(network.model.main),)))
