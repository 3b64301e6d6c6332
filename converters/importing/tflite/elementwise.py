"""Arithmetic, comparisons and activations: whatever the layout, they compute in the one that is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.converters.importing.tflite.layouts import axis_in
from multigraft.tflite.graph import Op

Emitter = Callable[[GraphBuilder, Op], None]

L2_LEAST = 1e-6
"""Smallest length that L2_NORMALIZATION divides by."""


def _unary(kind: str, **attributes: Any) -> Emitter:
    def emit(b: GraphBuilder, op: Op) -> None:
        form = b.common_form([op.inputs[0]], len(b.shapes[op.inputs[0]]))
        b.finish(op, form, kind, [b.get(op.inputs[0], form)], **attributes)

    return emit


def _in_two(first: str, second: str) -> Emitter:
    def emit(b: GraphBuilder, op: Op) -> None:
        form = b.common_form([op.inputs[0]], len(b.shapes[op.inputs[0]]))
        between = b.node(first, [b.get(op.inputs[0], form)], b.fresh(f"{b.named(op.outputs[0])}/{first.lower()}"))
        b.finish(op, form, second, [between])

    return emit


def _sides(b: GraphBuilder, op: Op) -> tuple[Any, list[str]]:
    rank = len(b.shapes[op.outputs[0]])
    form = b.common_form(op.inputs, rank)
    return form, [b.aligned(tensor, rank, form) for tensor in op.inputs]


def _broadcast(kind: str) -> Emitter:
    def emit(b: GraphBuilder, op: Op) -> None:
        form, sides = _sides(b, op)
        b.finish(op, form, kind, sides)

    return emit


def _square(b: GraphBuilder, op: Op) -> None:
    form = b.common_form([op.inputs[0]], len(b.shapes[op.inputs[0]]))
    b.finish(op, form, "Mul", [b.get(op.inputs[0], form)] * 2)


def _squared_difference(b: GraphBuilder, op: Op) -> None:
    form, sides = _sides(b, op)
    less = b.node("Sub", sides, b.fresh(f"{b.named(op.outputs[0])}/difference"))
    b.finish(op, form, "Mul", [less, less])


def _floor_div(b: GraphBuilder, op: Op) -> None:
    form, sides = _sides(b, op)
    if not b.graph.tensors[op.outputs[0]].dtype.startswith("float"):
        b.fail(op, "divides whole numbers")
    b.finish(op, form, "Floor", [b.node("Div", sides, b.fresh(f"{b.named(op.outputs[0])}/quotient"))])


def _floor_mod(b: GraphBuilder, op: Op) -> None:
    form, sides = _sides(b, op)
    if not b.graph.tensors[op.outputs[0]].dtype.startswith("float"):
        b.finish(op, form, "Mod", sides)
        return
    output = b.named(op.outputs[0])
    floor = b.node("Floor", [b.node("Div", sides, b.fresh(f"{output}/quotient"))], b.fresh(f"{output}/floor"))
    whole = b.node("Mul", [floor, sides[1]], b.fresh(f"{output}/whole"))
    b.finish(op, form, "Sub", [sides[0], whole])


def _not_equal(b: GraphBuilder, op: Op) -> None:
    form, sides = _sides(b, op)
    b.finish(op, form, "Not", [b.node("Equal", sides, b.fresh(f"{b.named(op.outputs[0])}/equal"))])


def _select(b: GraphBuilder, op: Op) -> None:
    condition, *values = (b.shapes[tensor] for tensor in op.inputs)
    if op.name == "SELECT" and condition != values[0] and int(np.prod(condition)) != 1:
        b.fail(op, "chooses whole rows")
    form, sides = _sides(b, op)
    b.finish(op, form, "Where", sides)


def _activation(name: str) -> Emitter:
    def emit(b: GraphBuilder, op: Op) -> None:
        form = b.common_form([op.inputs[0]], len(b.shapes[op.inputs[0]]))
        b.activate(op, name, b.get(op.inputs[0], form), b.named(op.outputs[0]))
        b.hold(op.outputs[0], form, b.named(op.outputs[0]))

    return emit


def _leaky(b: GraphBuilder, op: Op) -> None:
    alpha = op.options.get("alpha", 0.0)
    assert isinstance(alpha, (int, float))
    _unary("LeakyRelu", alpha=float(alpha))(b, op)


def _gelu(b: GraphBuilder, op: Op) -> None:
    _unary("Gelu", approximate="tanh" if op.options.get("approximate", False) else "none")(b, op)


def _prelu(b: GraphBuilder, op: Op) -> None:
    rank = len(b.shapes[op.inputs[0]])
    form = b.common_form([op.inputs[0]], rank)
    b.finish(op, form, "PRelu", [b.get(op.inputs[0], form), b.aligned(op.inputs[1], rank, form)])


def _along_channels(kind: str) -> Emitter:
    def emit(b: GraphBuilder, op: Op) -> None:
        rank = len(b.shapes[op.inputs[0]])
        form = b.common_form([op.inputs[0]], rank)
        value = b.get(op.inputs[0], form)
        beta = op.options.get("beta", 1.0) if op.name == "SOFTMAX" else 1.0
        if beta != 1.0:
            factor = b.store(f"{b.named(op.outputs[0])}/beta", np.array(beta, np.float32))
            value = b.node("Mul", [value, factor], b.fresh(f"{b.named(op.outputs[0])}/scaled"))
        b.finish(op, form, kind, [value], axis=axis_in(form, -1, rank))

    return emit


def _l2_normalisation(b: GraphBuilder, op: Op) -> None:
    rank, output = len(b.shapes[op.inputs[0]]), b.named(op.outputs[0])
    form = b.common_form([op.inputs[0]], rank)
    value = b.get(op.inputs[0], form)
    axes = b.store(f"{output}/axes", np.array([axis_in(form, -1, rank)], np.int64))
    length = b.node("ReduceL2", [value, axes], b.fresh(f"{output}/length"), keepdims=1)
    least = b.store(f"{output}/least", np.array(L2_LEAST, np.float32))
    b.finish(op, form, "Div", [value, b.node("Max", [length, least], b.fresh(f"{output}/divisor"))])


def _local_response(b: GraphBuilder, op: Op) -> None:
    radius, bias, alpha, beta = (op.options.get(k, d) for k, d in _LOCAL_RESPONSE.items())
    assert isinstance(radius, int)
    size = 2 * radius + 1
    source = b.first(op.inputs[0])
    # ONNX divides alpha by the number of channels that are summed.
    b.finish(op, "first", "LRN", [source], size=size, alpha=float(alpha) * size, beta=float(beta), bias=float(bias))  # type: ignore[arg-type]


_LOCAL_RESPONSE = {"radius": 0, "bias": 0.0, "alpha": 0.0, "beta": 0.0}


def _cast(b: GraphBuilder, op: Op) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(b.graph.tensors[op.outputs[0]].dtype))
    source = b.graph.tensors[op.inputs[0]].dtype
    if source == "float32" and kind == helper.np_dtype_to_tensor_dtype(np.dtype("bool")):
        b.fail(op, "casts to bool")
    _unary("Cast", to=kind)(b, op)


_UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "HARD_SWISH": "HardSwish",
    "LOG": "Log", "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg", "ROUND": "Round", "SIGN": "Sign",
    "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh",
}  # fmt: skip
_BROADCAST = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow",
    "ADD_N": "Sum", "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual", "EQUAL": "Equal", "LOGICAL_AND": "And", "LOGICAL_OR": "Or",
}  # fmt: skip

EMITTERS: dict[str, Emitter] = {
    **{name: _unary(kind) for name, kind in _UNARY.items()},
    **{name: _broadcast(kind) for name, kind in _BROADCAST.items()},
    **{name: _activation(name) for name in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")},
    "CAST": _cast,
    "FLOOR_DIV": _floor_div,
    "FLOOR_MOD": _floor_mod,
    "GELU": _gelu,
    "L2_NORMALIZATION": _l2_normalisation,
    "LEAKY_RELU": _leaky,
    "LOCAL_RESPONSE_NORMALIZATION": _local_response,
    "LOG_SOFTMAX": _along_channels("LogSoftmax"),
    "NOT_EQUAL": _not_equal,
    "PRELU": _prelu,
    "RSQRT": _in_two("Sqrt", "Reciprocal"),
    "SELECT": _select,
    "SELECT_V2": _select,
    "SOFTMAX": _along_channels("Softmax"),
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
}
