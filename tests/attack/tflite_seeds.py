"""The .tflite files that mutants are made of where none is named."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Signature, Tensor
from tests.bundle_builder import build


def seeds() -> dict[str, bytes]:
    """Name to content: a bundle's model in int8 and in float32, a whole network, and one with sparse weights."""
    built = build()
    float32 = build(float32=True).bundle.model
    return {"bundle": built.bundle.model, "uncut": built.uncut, "float32": float32, "sparse": sparse()}


def sparse_values() -> np.ndarray[Any, Any]:
    """Weights of which a third is there, 8 x 1 x 1 x 5."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(8, 1, 1, 5)) * (rng.random((8, 1, 1, 5)) < 0.4)).astype(np.float16)


def sparse() -> bytes:
    """A convolution whose weights are sparse, then float16, as converters leave pruned networks."""
    value = sparse_values()
    options: dict[str, str | int] = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    ops = [
        Op("DENSIFY", ("stored",), ("dense",)),
        Op("DEQUANTIZE", ("dense",), ("weights",)),
        Op("CONV_2D", ("x", "weights", "bias"), ("y",), {**options, "dilation_h_factor": 1, "dilation_w_factor": 1}),
    ]
    tensors = [
        Tensor("x", (1, 3, 4, 5)), Tensor("stored", value.shape, "float16", None, value),
        Tensor("dense", value.shape, "float16"), Tensor("weights", value.shape), Tensor("y", (1, 3, 4, 8)),
        Tensor("bias", (8,), "float32", None, np.ones(8, np.float32)),
    ]  # fmt: skip
    graph = Graph.of("main", ["x"], ["y"], ops, tensors)
    signature = Signature("serving_default", {"x": "x"}, {"y": "y"})
    whole = tflite_file.write(Model((graph,), (signature,)))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole, 0))
    held = next(t for t in model.subgraphs[0].tensors if t.name == b"stored")
    rows = value.reshape(-1, value.shape[-1])
    held.sparsity = schema.SparsityParametersT()
    held.sparsity.traversalOrder = [0, 1, 2, 3]
    held.sparsity.dimMetadata = [_dimension(size) for size in value.shape[:-1]] + [_rows(rows)]
    model.buffers[held.buffer].data = np.frombuffer(rows[rows != 0].tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _dimension(size: int) -> Any:
    made = schema.DimensionMetadataT()
    made.format, made.denseSize = 0, size
    return made


def _rows(rows: np.ndarray[Any, Any]) -> Any:
    made = schema.DimensionMetadataT()
    made.format = 1
    made.arraySegmentsType, made.arraySegments = 2, schema.Uint16VectorT()
    made.arrayIndicesType, made.arrayIndices = 3, schema.Uint8VectorT()
    made.arraySegments.values = [0, *np.cumsum((rows != 0).sum(axis=1)).tolist()]
    made.arrayIndices.values = np.nonzero(rows)[1].tolist()
    return made
