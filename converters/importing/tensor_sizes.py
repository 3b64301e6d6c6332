"""A few bytes of a file may ask for gigabytes: tensors out of all proportion are refused before anything is run."""

from __future__ import annotations

import math

import onnx

from multigraft.errors import InputError

FREE = 1 << 24
"""Elements that any tensor may have."""
MOST_GROWTH = 1 << 10
"""Beyond :data:`FREE`, a tensor may have so many for each byte of the file and each number of the input."""
_LARGEST_FILE = 64 << 20
"""Larger files may hold whatever there is."""


def refuse_large_tensors(model: onnx.ModelProto, where: str) -> None:
    """Check the sizes that follow from shapes and constants; those that follow from values alone stay unknown.

    Args:
        model: Its input has one frame and no open size.
        where: File name, for messages.

    Raises:
        InputError: One is too large.
    """
    size = model.ByteSize()
    if size > _LARGEST_FILE:
        return
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        # What a file says of its outputs would be contradicted, which ends the inference.
        output.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    except Exception:  # whatever is wrong with it, whoever runs it says so
        return
    given = sum(_elements(value) for value in model.graph.input)
    most = max(FREE, MOST_GROWTH * (size + given))
    for value in (*graph.value_info, *graph.output):
        if _elements(value) > most:
            raise InputError(
                f"{where}: the tensor {value.name!r} has {_elements(value):,} elements, out of all proportion",
                "export it again, or end the network before it",
            )


def _elements(value: onnx.ValueInfoProto) -> int:
    """Elements, where open dimensions are 1."""
    return math.prod(max(1, d.dim_value) for d in value.type.tensor_type.shape.dim)
