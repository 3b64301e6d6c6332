"""A .tflite file that computes with integers or bits, read and held against what a bundle can hold of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multigraft.answers.kind import Kind
from multigraft.converters.conversion.interpreters import PREFERRED, WholeFile
from multigraft.converters.importing.tflite.loading import TfliteNetwork, load, load_fixed, refuse_operators
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.quantising.layer_error import spec_of
from multigraft.errors import ConfigurationError, InputError, UnsupportedOperatorError
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation, preparer_for
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Tensor
from multigraft.tflite.operators import BINARY, OPERATORS

FILLED = ("float32", "int8", "uint8")
"""Element types that a frame can become."""

_UNFIT = frozenset(("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE"))


def is_quantised(path: Path) -> bool:
    """Whether a .tflite file computes with integers or bits, and so stands as it is; none of an open size does.

    Raises:
        InputError: As :func:`multigraft.converters.importing.tflite.loading.load`.
    """
    network = load_fixed(path)
    return network is not None and network.is_quantised


def load_standing(
    path: Path, name: str, preprocessing: Preparation | None, kind: Kind, labels: Sequence[str] = ()
) -> StandingNetwork:
    """Read a quantised network.

    Args:
        path: The file.
        name: The task's name.
        preprocessing: What the input expects of a frame; None for pixels of 0..1, or numbers as they are.
        kind: What the outputs mean.
        labels: One per class, or empty.

    Raises:
        InputError: It is damaged, takes something else than ``preprocessing`` makes, or the interpreter refuses it.
        UnsupportedOperatorError: It keeps a state or holds custom operators or control flow.
    """
    network = load(path)
    refuse_operators(network.graph, frozenset(OPERATORS) - _UNFIT - {"CUSTOM"}, str(path), custom=BINARY)
    if any(op.name in _UNFIT for op in network.model.main.ops):
        raise UnsupportedOperatorError(f"{path} holds control flow", "convert the network with fixed control flow")
    check_tflite(network.content, str(path))
    tensor = _only_input(network)
    made = preprocessing or _as_it_is(tensor)
    try:
        preparer_for(made, spec_of(tensor))
    except ConfigurationError as error:
        raise InputError(f"{path}: {error.problem}", "correct the preprocessing") from error
    for output in network.model.main.outputs:
        quant = network.model.main.tensors[output].quant
        if quant is not None and not quant.per_tensor:
            raise InputError(f"{path}: output {output} has several scales", "convert it with one scale per output")
    _refuse_what_does_not_run(network.content, tensor, str(path))
    digest = hashlib.sha256(network.content).hexdigest()
    return StandingNetwork(name, path, network.content, network.model.main, made, kind, tuple(labels), digest)


def _only_input(network: TfliteNetwork) -> Tensor:
    """The one input, of batch 1."""
    graph, path = network.model.main, network.path
    if len(graph.inputs) != 1:
        names = ", ".join(graph.inputs) or "none"
        raise InputError(f"{path} has {len(graph.inputs)} inputs ({names})", "give a network with one input")
    tensor = graph.tensors[graph.inputs[0]]
    if len(tensor.shape) < 2 or tensor.shape[0] != 1:
        raise InputError(
            f"{path}: input {tensor.name} has shape {list(tensor.shape)}", "give a network with a batch of 1"
        )
    if tensor.dtype not in FILLED:
        raise InputError(
            f"{path}: input {tensor.name} is {tensor.dtype}, which no frame becomes",
            f"convert it with an input of {', '.join(FILLED[:-1])} or {FILLED[-1]}",
        )
    return tensor


def _as_it_is(tensor: Tensor) -> Preparation:
    """Pixels of 0..1 for a picture of 1 or 3 channels, numbers as they are for anything else."""
    if len(tensor.shape) != 4 or tensor.shape[3] not in (1, 3):
        return ArrayPreparation(tensor.shape[1:])
    _, height, width, channels = tensor.shape
    return Preprocessing(height, width, "grey" if channels == 1 else "rgb", (0.0,) * channels, (1 / 255,) * channels)


def _refuse_what_does_not_run(content: bytes, tensor: Tensor, where: str) -> None:
    try:
        WholeFile(content, PREFERRED)(np.zeros(tensor.shape, tensor.dtype))
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{where} does not run on {PREFERRED} ({reason})", "convert it again") from error
