"""One node as a model, rewritten, and both compared in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.rewrite import rewrite

OPSET = 20
RELATIVE = 1e-5


def node_model(
    kind: str,
    shape: Sequence[int],
    constants: Mapping[str, Any] | Sequence[Any] = (),
    outputs: Sequence[str] = ("y",),
    opset: int = OPSET,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of the one node ``kind`` that reads ``x`` and then ``constants``; None among them leaves one out."""
    named = {f"c{i}": np.asarray(c) for i, c in enumerate(constants) if c is not None}
    names = ["x", *(f"c{i}" if c is not None else "" for i, c in enumerate(constants))]
    node = helper.make_node(kind, names, list(outputs), name="node", **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs if o]
    stored = [numpy_helper.from_array(value, name) for name, value in named.items()]
    graph = helper.make_graph([node], "node", inputs, results, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    return model


def operators(model: onnx.ModelProto) -> set[str]:
    """The kinds of nodes in it."""
    return {n.op_type for n in model.graph.node}


def assert_same(model: onnx.ModelProto, values: npt.NDArray[np.float32] | None = None) -> onnx.ModelProto:
    """The rewritten model, after it was found to compute the same on random input, or on ``values``."""
    copy = model.SerializeToString()
    new = rewrite(model)
    assert model.SerializeToString() == copy, "the model itself was changed"
    onnx.checker.check_model(new, full_check=True)
    outputs = [o.name for o in model.graph.output]
    assert [o.name for o in new.graph.output] == outputs
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32) if values is None else values
    wanted, got = OnnxRunner(model, outputs)({"x": x}), OnnxRunner(new, outputs)({"x": x})
    for name in outputs:
        assert got[name].shape == wanted[name].shape and got[name].dtype == wanted[name].dtype
        np.testing.assert_allclose(got[name], wanted[name], rtol=RELATIVE, atol=RELATIVE)
    return new
