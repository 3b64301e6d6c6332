"""A .tflite file of an unknown sender, checked before anything follows what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.importing.tflite.branches import written_out
from multigraft.converters.importing.tflite.custom import as_builtin
from multigraft.converters.importing.tflite.dilation import join_dilations
from multigraft.converters.importing.tflite.folding import fold
from multigraft.converters.importing.tflite.open_sizes import at_size, open_size, refuse_open_size
from multigraft.errors import UnsupportedOperatorError
from multigraft.reading import read_file
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_structure, check_tflite
from multigraft.tflite.graph import Graph, Model, Op
from multigraft.tflite.operators import BINARY, OPERATORS

LARGEST = 2 << 30
"""Bytes of a .tflite file, as flatbuffers have it."""

_STATE = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")
_INTEGERS = ("int4", "int8", "uint8", "int16")


@dataclass(frozen=True)
class TfliteNetwork:
    """A file as it is, and what it computes.

    Attributes:
        path: Where it lies.
        content: The whole file.
        model: The same, read.
        graph: Its network with what constants alone decide computed.
    """

    path: Path
    content: bytes
    model: Model
    graph: Graph

    @property
    def is_quantised(self) -> bool:
        """Whether it computes with integers that stand for real numbers, or with bits that stand for -1 and 1."""
        if any(op.custom_code in BINARY for op in self.graph.ops):
            return True
        computed = (self.graph.tensors[n] for op in self.graph.ops for n in (*op.inputs, *op.outputs) if n)
        return any(t.dtype in _INTEGERS and t.quant is not None and t.data is None for t in computed)

    @property
    def holds_integer_weights(self) -> bool:
        """Whether layers on float values have weights in 8 bits, for which interpreters round the values, too."""
        return any(name.endswith("/float") and name not in self.model.main.tensors for name in self.graph.tensors)


def load(path: Path, shape: Sequence[int] | None = None) -> TfliteNetwork:
    """Read and check a file.

    Args:
        path: Where it lies.
        shape: What a size that it leaves open is to be: of the input without its batch, in the order of the file.

    Raises:
        InputError: It is not there, is no .tflite file, is damaged, leaves the size of its input open where there is no
            ``shape``, or does not take it.
        UnsupportedOperatorError: It holds control flow that cannot be written out.
    """
    content = _checked_content(path)
    if shape is not None and open_size(content) is not None:
        content = at_size(content, shape, str(path))
    refuse_open_size(content, str(path))
    return _network(path, content)


def load_fixed(path: Path) -> TfliteNetwork | None:
    """As :func:`load`; None where the file leaves the size of its input open."""
    content = _checked_content(path)
    return None if open_size(content) is not None else _network(path, content)


def _checked_content(path: Path) -> bytes:
    content = read_file(path, LARGEST)
    check_structure(content, str(path))
    return content


def _network(path: Path, content: bytes) -> TfliteNetwork:
    model = tflite_file.read(content)
    whole = written_out(model, str(path))
    return TfliteNetwork(path, content, model, join_dilations(fold(as_builtin(whole))))


def checked(network: TfliteNetwork) -> bytes:
    """The network's graph as a file that interpreters can be given.

    Raises:
        InputError: Its operators do not fit their tensors.
    """
    content = tflite_file.write(Model((network.graph,), (main_signature(network.graph),)))
    check_tflite(content, str(network.path))
    return content


def refuse_operators(graph: Graph, known: frozenset[str], where: str, custom: frozenset[str] = frozenset()) -> None:
    """Name the first operator that is not known.

    Args:
        graph: Whose.
        known: Builtin operators.
        where: What to call the file.
        custom: Custom operators that are known.

    Raises:
        UnsupportedOperatorError: There is one.
    """
    for op in graph.ops:
        if op.name not in known and op.custom_code not in custom:
            raise UnsupportedOperatorError(*_reason(op, where))


def _reason(op: Op, where: str) -> tuple[str, str]:
    named = f"{where}: {op.label} {op.outputs[0]!r}" if op.outputs else f"{where}: {op.label}"
    if op.name in _STATE:
        return (
            f"{named} keeps a state from one call to the next, which the self-test of a bundle would change",
            "give the file to multigraft firmware on its own, or convert the network without a state (not streaming)",
        )
    if op.name == "CUSTOM":
        return f"{named} is a custom operator, which no interpreter here has", "end the network before it"
    if op.name in OPERATORS and "QUANTIZE" in op.name:
        return f"{named} changes between integers and real numbers", "convert the network in float32 or wholly in int8"
    return f"{named} cannot be converted to ONNX", "replace it, or end the network before it"
