"""A .tflite file of an unknown sender, checked before anything follows what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.importing.tflite.branches import written_out
from multigraft.converters.importing.tflite.custom import as_builtin
from multigraft.converters.importing.tflite.dilation import join_dilations
from multigraft.converters.importing.tflite.folding import fold
from multigraft.errors import InputError, UnsupportedOperatorError
from multigraft.reading import read_file
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_structure, check_tflite
from multigraft.tflite.graph import Graph, Model, Op
from multigraft.tflite.operators import OPERATORS

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
        """Whether it computes with integers that stand for real numbers."""
        computed = (self.graph.tensors[n] for op in self.graph.ops for n in (*op.inputs, *op.outputs) if n)
        return any(t.dtype in _INTEGERS and t.quant is not None and t.data is None for t in computed)

    @property
    def holds_integer_weights(self) -> bool:
        """Whether layers on float values have weights in 8 bits, for which interpreters round the values, too."""
        return any(name.endswith("/float") and name not in self.model.main.tensors for name in self.graph.tensors)


def load(path: Path) -> TfliteNetwork:
    """Read and check a file.

    Raises:
        InputError: It is not there, is no .tflite file, is damaged, or leaves the size of its input open.
        UnsupportedOperatorError: It holds control flow that cannot be written out.
    """
    content = read_file(path, LARGEST)
    where = str(path)
    check_structure(content, where)
    _refuse_open_sizes(content, where)
    model = tflite_file.read(content)
    whole = written_out(model, where)
    return TfliteNetwork(path, content, model, join_dilations(fold(as_builtin(whole))))


def checked(network: TfliteNetwork) -> bytes:
    """The network's graph as a file that interpreters can be given.

    Raises:
        InputError: Its operators do not fit their tensors.
    """
    content = tflite_file.write(Model((network.graph,), (main_signature(network.graph),)))
    check_tflite(content, str(network.path))
    return content


def refuse_operators(graph: Graph, known: frozenset[str], where: str) -> None:
    """Name the first operator that is not known.

    Raises:
        UnsupportedOperatorError: There is one.
    """
    for op in graph.ops:
        if op.name not in known:
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


def _refuse_open_sizes(content: bytes, where: str) -> None:
    """Shapes in the file are those of one choice of the sizes that it leaves open; only the batch is known to be 1."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    for i in range(graph.InputsLength()):
        tensor = graph.Tensors(graph.Inputs(i))
        sizes = [int(tensor.ShapeSignature(k)) for k in range(tensor.ShapeSignatureLength())]
        if -1 in sizes[1:]:
            shown = " x ".join("?" if s < 0 else str(s) for s in sizes)
            raise InputError(
                f"{where} leaves the size of its input {tensor.Name().decode()} open ({shown})",
                "convert it with a fixed input size",
            )
