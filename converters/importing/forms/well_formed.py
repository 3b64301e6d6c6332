"""What protobuf lets through and nobody can work with: names that are no text, tensors of another length than said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
from onnx import TensorProto

from multigraft.converters.importing.forms.external_data import stored_tensors
from multigraft.errors import InputError

_AGAIN = "export it again"
_WHOLE: dict[int, int] = {
    TensorProto.FLOAT: 4, TensorProto.UINT8: 1, TensorProto.INT8: 1, TensorProto.UINT16: 2, TensorProto.INT16: 2,
    TensorProto.INT32: 4, TensorProto.INT64: 8, TensorProto.BOOL: 1, TensorProto.FLOAT16: 2, TensorProto.DOUBLE: 8,
    TensorProto.UINT32: 4, TensorProto.UINT64: 8, TensorProto.COMPLEX64: 8, TensorProto.COMPLEX128: 16,
    TensorProto.BFLOAT16: 2, TensorProto.FLOAT8E4M3FN: 1, TensorProto.FLOAT8E4M3FNUZ: 1, TensorProto.FLOAT8E5M2: 1,
    TensorProto.FLOAT8E5M2FNUZ: 1,
}  # fmt: skip
"""Bytes of an element."""
_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data", TensorProto.COMPLEX64: "float_data", TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data", TensorProto.INT64: "int64_data", TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data", TensorProto.STRING: "string_data",
}  # fmt: skip
"""Where elements lie that are not raw; those of other types lie in ``int32_data``."""
_PAIRS = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def refuse_broken_text(model: onnx.ModelProto, where: str) -> None:
    """Check that names are text: protobuf gives bytes where they are not UTF-8.

    Raises:
        InputError: Some are not.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise InputError(f"{where} holds a name that is no text ({text[:20]!r})", _AGAIN)


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    yield from (model.producer_name, model.producer_version, model.domain)
    for opset in model.opset_import:
        yield opset.domain
    for tensor in stored_tensors(model):
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from (function.name, function.domain, function.overload, *function.input, *function.output)
        yield from function.attribute
        yield from (opset.domain for opset in function.opset_import)
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield graph.name
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dimension.dim_param for dimension in value.type.tensor_type.shape.dim)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
            for graph in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
                yield from _of_graph(graph)


def refuse_broken_tensors(model: onnx.ModelProto, where: str) -> None:
    """Check that every stored tensor is as long as its shape says; external data has to be merged before.

    Raises:
        InputError: One is not, or its type is not known.
    """
    for tensor in stored_tensors(model):
        if any(size < 0 for size in tensor.dims):
            raise InputError(f"{where}: the tensor {tensor.name!r} has shape {list(tensor.dims)}", _AGAIN)
        count, kind = math.prod(tensor.dims), tensor.data_type
        if kind in (TensorProto.INT4, TensorProto.UINT4):
            held, wanted = _length(tensor, 1), -(-count // 2)
        elif kind in _WHOLE or kind == TensorProto.STRING:
            held, wanted = _length(tensor, _WHOLE.get(kind, 1)), count
        else:
            raise InputError(f"{where}: the tensor {tensor.name!r} is of type {kind}, which is not known", _AGAIN)
        if held != wanted:
            raise InputError(
                f"{where}: the tensor {tensor.name!r} holds {held} elements and its shape {list(tensor.dims)} has "
                f"{wanted}",
                _AGAIN,
            )


def _length(tensor: TensorProto, size: int) -> int | float:
    if tensor.HasField("raw_data"):
        length = len(tensor.raw_data) / size
        return int(length) if length.is_integer() else length
    field = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
    return len(field) // 2 if tensor.data_type in _PAIRS else len(field)
