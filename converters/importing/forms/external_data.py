"""Weights that an ONNX file keeps in files beside it, also behind links, as download caches lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto, external_data_helper

from multigraft.errors import InputError
from multigraft.reading import regular_file


def merge_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Put the content of all external data into ``model``, in place.

    A link is followed if it leads into the folder of the model, or of the file that the model itself is a link to.

    Raises:
        InputError: A file is missing, too short, or lies outside of these folders.
    """
    for tensor in list(external_tensors(model)):
        try:
            info = external_data_helper.ExternalDataInfo(tensor)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} says wrongly where it keeps weights", "export it again") from error
        if (info.offset or 0) < 0 or (info.length or 0) < 0:
            raise InputError(f"{path} keeps weights at a place before a file's beginning", "export it again")
        data = _located(path, info.location)
        start, length = info.offset or 0, info.length
        size = data.stat().st_size
        if size < start + (length or 0):
            raise InputError(
                f"{data} has {size} bytes and {path.name} needs {start + (length or 0)} of it", "copy it again"
            )
        with regular_file(data) as file:
            file.seek(start)
            tensor.raw_data = file.read(length) if length else file.read()
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def external_names(model: onnx.ModelProto) -> list[str]:
    """The files that hold external data, as the model names them, in the order of first mention."""
    locations = (external_data_helper.ExternalDataInfo(t).location for t in external_tensors(model))
    return list(dict.fromkeys(locations))


def external_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """All tensors whose content is elsewhere."""
    return (t for t in stored_tensors(model) if external_data_helper.uses_external_data(t))


def stored_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that the file holds: initialisers, sparse ones, and attributes, in functions and branches, too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in [
                *attribute.sparse_tensors,
                *([attribute.sparse_tensor] * attribute.HasField("sparse_tensor")),
            ]:
                yield from (sparse.values, sparse.indices)
            for graph in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
                yield from _of_graph(graph)


def _located(path: Path, location: str) -> Path:
    plain = PurePosixPath(location)
    if not location or plain.is_absolute() or ".." in plain.parts:
        raise InputError(
            f"{path} keeps weights in {location!r}, outside of its folder", "save it again with its data beside it"
        )
    data = path.parent / plain
    if not data.is_file():
        raise InputError(
            f"{path} keeps weights in {location}, which is not beside it", f"copy {location} there as well"
        )
    folders = (path.parent.resolve(), path.resolve().parent)
    if not any(data.resolve().is_relative_to(folder) for folder in folders):
        raise InputError(
            f"{path} keeps weights in {location}, a link to {data.resolve()}, outside of its folder",
            f"copy {location} there as a file",
        )
    return data
