"""Reading .onnx files of any exporter, and naming what cannot be grafted or converted."""

from __future__ import annotations

import graphlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.inliner
from onnx import TensorProto, external_data_helper

from multigraft.errors import InputError, UnsupportedOperatorError
from multigraft.reading import regular_file

LARGEST = 2 << 30
"""Bytes of an .onnx file, as protobuf has it; larger weights lie beside it."""
MOST_NODES = 100_000
"""Of a graph whose local functions are unfolded."""

_CONTROL_FLOW = "is control flow", "export the network with fixed control flow"
_SEQUENCE = "works on sequences", "export the network without lists of tensors"
_RANDOM = "draws random numbers", "export the network in inference mode"
_QUANTISED = "is quantised already", "give the float32 network"
_DATA_DEPENDENT = "gives an output whose shape depends on values", "end the network before it"
_TEXT = "does not work on images", "give a network with one image input"

UNSUPPORTED: dict[str, tuple[str, str]] = {
    operator: reason
    for reason, operators in {
        _CONTROL_FLOW: "If Loop Scan",
        _SEQUENCE: "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap "
        "SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
        _RANDOM: "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli",
        _QUANTISED: "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger "
        "MatMulInteger",
        _DATA_DEPENDENT: "NonZero NonMaxSuppression Unique Compress",
        _TEXT: "StringNormalizer StringConcat StringSplit RegexFullMatch TfIdfVectorizer ImageDecoder",
    }.items()
    for operator in operators.split()
}
"""Operator to what it does and the remedy."""

DEFAULT_DOMAINS = ("", "ai.onnx")
_UNUSUAL_FLOATS = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a model with its external data, local functions inlined.

    Raises:
        InputError: The file is missing, not ONNX, truncated, invalid, or its external data is missing.
    """
    try:
        with regular_file(path, LARGEST) as file:
            model = onnx.load_model_from_string(file.read())
    except InputError:
        raise
    except Exception:  # protobuf's DecodeError, whose module has no type stubs
        raise InputError(f"{path} is not an ONNX file, or not a whole one", "copy or export it again") from None
    if not model.ir_version or not model.graph.node:
        raise InputError(f"{path} is not an ONNX file", "give an .onnx file that an exporter wrote")
    for tensor in _external_tensors(model):
        _check_external(path, tensor)
    _refuse_growth(model, path)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(_with_output_shapes(model))
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:
        raise InputError(f"{path} is not valid ONNX: {one_line(error)}", "export it again") from error


def sha256_of_file(path: Path, model: onnx.ModelProto | None = None) -> str:
    """Hex SHA-256 of a model file and of the external data files it names, in their order of first mention."""
    digest = hashlib.sha256(path.read_bytes())
    named: dict[str, None] = {}
    for tensor in _external_tensors(model) if model is not None else ():
        named[external_data_helper.ExternalDataInfo(tensor).location] = None
    for name in named:
        digest.update((path.parent / name).read_bytes())
    return digest.hexdigest()


def _with_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose outputs all have a shape: the checker wants one, and some exporters write none."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for output in copy.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    return copy


def _external_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    held = [a.t for n in model.graph.node for a in n.attribute if a.HasField("t")]
    return (t for t in [*model.graph.initializer, *held] if external_data_helper.uses_external_data(t))


def _check_external(path: Path, tensor: TensorProto) -> None:
    try:
        info = external_data_helper.ExternalDataInfo(tensor)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} says wrongly where it keeps weights", "export it again") from error
    if (info.offset or 0) < 0 or (info.length or 0) < 0:
        raise InputError(f"{path} keeps weights at a place before a file's beginning", "export it again")
    data = path.parent / info.location
    if not data.is_file():
        raise InputError(
            f"{path} keeps weights in {info.location}, which is not beside it", f"copy {info.location} there as well"
        )
    needed = (info.offset or 0) + (info.length or 0)
    if data.stat().st_size < needed:
        raise InputError(
            f"{data} has {data.stat().st_size} bytes and {path.name} needs {needed} of it", "copy it again"
        )


def _refuse_growth(model: onnx.ModelProto, path: Path) -> None:
    """Local functions that call each other twice, thirty times over, are a small file and a graph that never ends."""
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}
    again = "export it without local functions"

    def size_of(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            total += sizes.get((node.domain, node.op_type, node.overload), 1)
            for attribute in node.attribute:
                total += sum(size_of(graph.node) for graph in (attribute.g, *attribute.graphs))
        return total

    def called(nodes: Iterable[onnx.NodeProto]) -> set[tuple[str, str, str]]:
        inner = [g for n in nodes for a in n.attribute for g in (a.g, *a.graphs) if g.node]
        return {(n.domain, n.op_type, n.overload) for n in nodes} & functions.keys() | {
            key for graph in inner for key in called(graph.node)
        }

    order = graphlib.TopologicalSorter({key: called(function.node) for key, function in functions.items()})
    try:
        for key in order.static_order():
            sizes[key] = min(size_of(functions[key].node), MOST_NODES + 1)
    except graphlib.CycleError:
        raise InputError(f"{path} holds functions that call themselves", again) from None
    if size_of(model.graph.node) > MOST_NODES:
        raise InputError(f"{path} unfolds to more than {MOST_NODES} nodes", again)


def one_line(error: BaseException) -> str:
    """The first non-empty line of an error's text without its full stop, for use inside a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def label(node: onnx.NodeProto) -> str:
    """How messages name a node: operator and name, or what it writes if it has none."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"


def refuse_unsupported(model: onnx.ModelProto, where: str) -> None:
    """Check that every node can be grafted and converted.

    Raises:
        UnsupportedOperatorError: One cannot; the message names the node.
    """
    for node in model.graph.node:
        if node.domain not in DEFAULT_DOMAINS:
            raise UnsupportedOperatorError(
                f"{where}: {label(node)} is of the operator set {node.domain!r}",
                "export it with standard ONNX operators",
            )
        if node.op_type in UNSUPPORTED:
            problem, remedy = UNSUPPORTED[node.op_type]
            raise UnsupportedOperatorError(f"{where}: {label(node)} {problem}", remedy)
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            raise UnsupportedOperatorError(f"{where}: {label(node)} is in training mode", "export it in inference mode")
    unusual = {i.name: _UNUSUAL_FLOATS[i.data_type] for i in model.graph.initializer if i.data_type in _UNUSUAL_FLOATS}
    for node, name in _uses(model.graph):
        if name in unusual:
            raise UnsupportedOperatorError(
                f"{where}: {label(node)} has {unusual[name]} weights", "export the network in float32"
            )


def _uses(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, str]]:
    for node in graph.node:
        for name in node.input:
            yield node, name
