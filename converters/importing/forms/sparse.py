"""Sparse initialisers and constants, as pruning tools write them, become plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.errors import InputError

MOST_ELEMENTS = 1 << 28
"""Of one tensor written out: 1 GiB in float32. A sparse file of a few bytes may claim any shape."""


def write_out_sparse(model: onnx.ModelProto, where: str) -> None:
    """Make every sparse initialiser and every sparse Constant of the graph a plain one, in place.

    Raises:
        InputError: Indices lie outside of the shape, or the shape is too large.
    """
    graph = model.graph
    for sparse in graph.sparse_initializer:
        graph.initializer.append(numpy_helper.from_array(_plain(sparse, where), sparse.values.name))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("sparse_tensor"):
                value = numpy_helper.from_array(_plain(attribute.sparse_tensor, where))
                attribute.CopyFrom(onnx.helper.make_attribute("value", value))


def _plain(sparse: onnx.SparseTensorProto, where: str) -> npt.NDArray[Any]:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    shape = tuple(sparse.dims)
    size = int(np.prod(shape, dtype=object))
    if indices.ndim == 2:
        indices = indices @ np.array([int(np.prod(shape[i + 1 :], dtype=object)) for i in range(len(shape))], np.int64)
    fits = size <= MOST_ELEMENTS and len(indices) == len(values) and (indices >= 0).all() and (indices < size).all()
    if not fits:
        raise InputError(
            f"{where}: the sparse tensor {sparse.values.name!r} does not fit its shape {shape}", "export it again"
        )
    plain = np.zeros(size, values.dtype)
    plain[indices] = values
    return plain.reshape(shape)
