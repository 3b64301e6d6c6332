"""The codec's reading side as ONNX operators: packed codes of any number of bits to real values.

Bits are taken apart by whole division, put together again by a product with powers of two, and scaled. All operators
are of the standard set from version 13 on, so that any server that runs ONNX can read what a device sends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.network.network import model_of
from multigraft.runtime.offload.wire import BITS_SUFFIX, LOW_SUFFIX, STEP_SUFFIX
from multigraft.tensors.arrays import Array
from multigraft.tensors.specs import TensorSpec

FEWEST_OPSET = 13
_PREFIX = "multigraft_decode/"


@dataclass(frozen=True)
class Wire:
    """What travels.

    Attributes:
        spec: The tensor as the bundle holds it, channels last.
        axes: Axes of the bundle's tensor in the order in which the ONNX network holds them.
    """

    spec: TensorSpec
    axes: tuple[int, ...]


def decoding_model(wire: Wire, output: str, opset: int) -> onnx.ModelProto:
    """A model from codes to the real values of a tensor.

    Its inputs are called as the bundle calls the tensor (uint8, (bytes,): the packed codes, channels first) and, with
    suffixes, the number of bits (int32, (1,)), the value of code 0 and the step (float32, (channels,) or (1,)).

    Args:
        wire: What travels.
        output: Name of the float32 output, in the layout of ONNX.
        opset: Version of the operator set, :data:`FEWEST_OPSET` or newer.
    """
    name, shape = wire.spec.name, wire.spec.shape
    count, channels = math.prod(shape), shape[-1]
    nodes, constants = _Nodes(), dict[str, Array]()

    def constant(called: str, values: Sequence[int], dtype: type = np.int64) -> str:
        constants[_PREFIX + called] = np.array(values, dtype)
        return _PREFIX + called

    powers = constant("powers", [1 << k for k in range(8)], np.int32)
    two, flat = constant("two", [2], np.int32), constant("flat", [-1])
    bits = nodes.add("Cast", f"{name}{BITS_SUFFIX}", to=TensorProto.INT64)
    # Bytes to bits, the lowest first.
    column = nodes.add("Reshape", name, constant("column", [-1, 1]))
    whole = nodes.add("Cast", column, to=TensorProto.INT32)
    taken = nodes.add("Mod", nodes.add("Div", whole, powers), two)
    stream = nodes.add("Reshape", taken, flat)
    total = nodes.add("Mul", bits, constant("count", [count]))
    start = constant("start", [0])
    kept = nodes.add("Slice", stream, start, total)
    rows = nodes.add("Concat", constant("rows", [count]), bits, axis=0)
    grouped = nodes.add("Cast", nodes.add("Reshape", kept, rows), to=TensorProto.FLOAT)
    weights = nodes.add("Slice", nodes.add("Cast", powers, to=TensorProto.FLOAT), start, bits)
    codes = nodes.add("MatMul", grouped, nodes.add("Reshape", weights, constant("weights", [-1, 1])))
    planes = nodes.add("Reshape", codes, constant("planes", [channels, count // channels]))
    upright = constant("upright", [-1, 1])
    scaled = nodes.add("Mul", planes, nodes.add("Reshape", f"{name}{STEP_SUFFIX}", upright))
    real = nodes.add("Add", scaled, nodes.add("Reshape", f"{name}{LOW_SUFFIX}", upright))
    # Channels first, then the axes as the network has them.
    first = (0, len(shape) - 1, *range(1, len(shape) - 1))
    placed = nodes.add("Reshape", real, constant("shape", [shape[a] for a in first]))
    nodes.add("Transpose", placed, perm=[first.index(a) for a in wire.axes], output=output)
    graph = helper.make_graph(
        nodes.made,
        "decode",
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, ["bytes"]),
            helper.make_tensor_value_info(f"{name}{BITS_SUFFIX}", TensorProto.INT32, [1]),
            helper.make_tensor_value_info(f"{name}{LOW_SUFFIX}", TensorProto.FLOAT, ["ranges"]),
            helper.make_tensor_value_info(f"{name}{STEP_SUFFIX}", TensorProto.FLOAT, ["ranges"]),
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[a] for a in wire.axes])],
        [numpy_helper.from_array(value, called) for called, value in constants.items()],
    )
    model = model_of(graph, opset)
    onnx.checker.check_model(model)
    return model


class _Nodes:
    """Nodes in order, each with one output."""

    def __init__(self) -> None:
        self.made: list[onnx.NodeProto] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{_PREFIX}{len(self.made)}"
        self.made.append(
            helper.make_node(kind, list(inputs), [output], name=f"{_PREFIX}{len(self.made)}", **attributes)
        )
        return output
