"""A graph that takes its image channels last, made to take it channels first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

TO_CHANNELS_FIRST = [0, 3, 1, 2]
TO_CHANNELS_LAST = [0, 2, 3, 1]
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def read_channels_first(graph: onnx.GraphProto, name: str, users: list[onnx.NodeProto], channels: int) -> None:
    """Let the readers of input ``name``, which is channels first by now, compute the same, in place.

    The transpose that the graph itself has goes; casts and arithmetic by constants before it are turned with it. Where
    it has none, one is put in front.
    """
    if _turns_chain(graph, name, users, channels):
        return
    last = f"{name}/channels_last"
    needs_transpose = False
    for node in users:
        if _is_turn(node):
            _pass_on(node)
            continue
        needs_transpose = True
        for i, read in enumerate(node.input):
            if read == name:
                node.input[i] = last
    if needs_transpose:
        graph.node.insert(0, helper.make_node("Transpose", [name], [last], last, perm=TO_CHANNELS_LAST))


def _turns_chain(graph: onnx.GraphProto, name: str, users: list[onnx.NodeProto], channels: int) -> bool:
    """Whether casts and arithmetic lead to a transpose, all of which are then rewritten."""
    constants = _constants(graph)
    outputs = {o.name for o in graph.output}
    turned: list[tuple[onnx.NodeProto, int]] = []
    while len(users) == 1 and not _is_turn(users[0]):
        node = users[0]
        others = [i for i, read in enumerate(node.input) if read != name]
        if node.output[0] in outputs or node.op_type not in (*_ARITHMETIC, "Cast", "Identity"):
            return False
        if others:
            value = constants.get(node.input[others[0]])
            is_last = value is not None and value.ndim <= 4 and value.size == (value.shape or (1,))[-1]
            if value is None or not is_last or value.size not in (1, channels):
                return False
            turned.append((node, others[0]))
        name = node.output[0]
        users = [n for n in graph.node if name in n.input]
    if len(users) != 1:
        return False
    for node, index in turned:
        value = constants[node.input[index]]
        node.input[index] = f"{node.output[0]}/per_channel"
        shape = (1, value.size, 1, 1)
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(shape), node.input[index]))
    _pass_on(users[0])
    return True


def _constants(graph: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _is_turn(node: onnx.NodeProto) -> bool:
    perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
    return node.op_type == "Transpose" and perm == TO_CHANNELS_FIRST


def _pass_on(node: onnx.NodeProto) -> None:
    node.op_type = "Identity"
    del node.attribute[:]
