"""Reading .onnx files of any exporter, and naming what cannot be grafted or converted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from multigraft.converters.importing.dequantise import dequantise, is_quantised
from multigraft.converters.importing.forms.external_data import external_names, merge_external_data
from multigraft.converters.importing.forms.float_types import cast_to_float32
from multigraft.converters.importing.forms.ordering import sort_nodes
from multigraft.converters.importing.forms.qonnx import write_out_quantisers
from multigraft.converters.importing.forms.repeated_outputs import leave_out_repeated_outputs
from multigraft.converters.importing.forms.sparse import write_out_sparse
from multigraft.converters.importing.forms.unused_inputs import leave_out_unused_inputs
from multigraft.converters.importing.forms.well_formed import refuse_broken_tensors, refuse_broken_text
from multigraft.converters.importing.local_functions import expand_functions, refuse_explosion
from multigraft.converters.importing.node_names import label
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.network import name_nodes_once
from multigraft.errors import InputError, MultigraftError, UnsupportedOperatorError, one_line
from multigraft.reading import regular_file

LARGEST = 2 << 30
"""Bytes of an .onnx file, as protobuf has it; larger weights lie beside it."""

_CONTROL_FLOW = (
    "is control flow that depends on the frame, or repeats too much",
    "export the network with fixed control flow",
)
_SEQUENCE = "works on sequences", "export the network without lists of tensors"
_RANDOM = "draws random numbers", "export the network in inference mode"
_DATA_DEPENDENT = "gives an output whose shape depends on values", "end the network before it"
_TEXT = "does not work on images", "give a network with one image input"

UNSUPPORTED: dict[str, tuple[str, str]] = {
    operator: reason
    for reason, operators in {
        _SEQUENCE: "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap "
        "SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
        _RANDOM: "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli",
        _DATA_DEPENDENT: "NonZero NonMaxSuppression Unique",
        _TEXT: "StringNormalizer StringConcat StringSplit RegexFullMatch TfIdfVectorizer ImageDecoder",
    }.items()
    for operator in operators.split()
}
"""Operator to what it does and the remedy."""

UNLESS_CONSTANT: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("If", "Loop", "Scan"), _CONTROL_FLOW),
    "Compress": _DATA_DEPENDENT,
}
"""The same for operators that simplifying writes out where what they go by is constant."""

_SCORES_WITH_MASK = 2
"""Of ``qk_matmul_output_mode``."""

DEFAULT_DOMAINS = ("", "ai.onnx")


def read_onnx(path: Path, report: Report = silent) -> onnx.ModelProto:
    """Read a model as one in float32 that stands alone: external data, functions and sparse tensors written out.

    Args:
        path: Of the file.
        report: Takes a line for what was cast or dequantised.

    Raises:
        InputError: The file is missing, not ONNX, truncated, invalid, or its external data is missing.
        UnsupportedOperatorError: It is quantised in a way that is not known.
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
    refuse_broken_text(model, str(path))
    refuse_explosion(model, str(path))
    _open_negative_dimensions(model)
    merge_external_data(model, path)
    refuse_broken_tensors(model, str(path))
    try:
        sort_nodes(model.graph, str(path))
        onnx.checker.check_model(_with_output_shapes(model))
        model = expand_functions(model, str(path))
        sort_nodes(model.graph, str(path))
        name_nodes_once(model.graph)
        quantisers = write_out_quantisers(model, str(path))
        write_out_sparse(model, str(path))
    except MultigraftError:
        raise
    except Exception as error:
        raise InputError(f"{path} is not valid ONNX: {one_line(error)}", "export it again") from error
    if quantisers:
        report(f"note: {path.name} holds {quantisers} quantisers of QONNX, which are written out")
    for name in leave_out_unused_inputs(model):
        report(f"note: nothing in {path.name} reads its input {name}, which is left out")
    for name in leave_out_repeated_outputs(model):
        report(f"note: {path.name} lists its output {name} more than once; it is given once")
    was = cast_to_float32(model)
    if was:
        report(f"note: {path.name} holds {was}; it is cast to float32")
    if is_quantised(model):
        dequantise(model, str(path))
        report(f"note: {path.name} is quantised; its weights are taken as float32, rounded as they are")
    return model


def _open_negative_dimensions(model: onnx.ModelProto) -> None:
    """Some exporters write -1 for a dimension that is open."""
    for value in [*model.graph.input, *model.graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_value < 0:
                dimension.Clear()


def sha256_of_file(path: Path, model: onnx.ModelProto | None = None) -> str:
    """Hex SHA-256 of a model file and of the external data files it names, in their order of first mention."""
    digest = hashlib.sha256(path.read_bytes())
    for name in external_names(model) if model is not None else ():
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


def refuse_unsupported(model: onnx.ModelProto, where: str) -> None:
    """Check that every node can be grafted and converted.

    Raises:
        UnsupportedOperatorError: One cannot; the message names the node.
    """
    for node in model.graph.node:
        refuse_node(node, where)


def refuse_node(node: onnx.NodeProto, where: str) -> None:
    """Check that one node can be grafted and converted.

    Raises:
        UnsupportedOperatorError: It cannot; the message names it.
    """
    if node.domain not in DEFAULT_DOMAINS:
        raise UnsupportedOperatorError(
            f"{where}: {label(node)} is of the operator set {node.domain!r}", "export it with standard ONNX operators"
        )
    if node.op_type in UNSUPPORTED:
        problem, remedy = UNSUPPORTED[node.op_type]
        raise UnsupportedOperatorError(f"{where}: {label(node)} {problem}", remedy)
    if node.op_type in UNLESS_CONSTANT:
        problem, remedy = UNLESS_CONSTANT[node.op_type]
        raise UnsupportedOperatorError(f"{where}: {label(node)} {problem}", remedy)
    if node.op_type == "Attention" and _shows_masked_scores(node):
        raise UnsupportedOperatorError(
            f"{where}: {label(node)} gives its masked scores, which runtimes write differently",
            "give the scores before the mask, or after Softmax",
        )
    if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
        raise UnsupportedOperatorError(f"{where}: {label(node)} is in training mode", "export it in inference mode")


def _shows_masked_scores(node: onnx.NodeProto) -> bool:
    """Where ONNX has minus infinity, onnxruntime has the lowest number."""
    given = {a.name: a.i for a in node.attribute}
    is_masked = bool(given.get("is_causal")) or bool(list(node.input)[3:4] and node.input[3])
    return is_masked and given.get("qk_matmul_output_mode", 0) == _SCORES_WITH_MASK and any(node.output[3:4])
