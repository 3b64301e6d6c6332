"""Nodes rewritten for inputs whose channels come in another order, as they do in two exports of one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import ACTIVATIONS, Network, attributes

Index = npt.NDArray[np.int64]
Constants = dict[int, npt.NDArray[Any]]
"""Input position to the constant that stands there."""


@dataclass(frozen=True)
class Order:
    """How the elements of a tensor lie along ``axis``: at position ``i`` is what was at ``index[i]``."""

    axis: int
    index: Index

    @property
    def is_identity(self) -> bool:
        return bool((self.index == np.arange(len(self.index))).all())

    def equals(self, other: Order) -> bool:
        return self.axis == other.axis and np.array_equal(self.index, other.index)


@dataclass(frozen=True)
class Reordered:
    """A node that reads inputs in other orders.

    Attributes:
        constants: Those that change, by input position.
        outputs: Output position to its order, where that is another one, too.
    """

    constants: Constants = field(default_factory=dict)
    outputs: Mapping[int, Order] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """A node with what is known of it: orders and shapes (with the batch) by input position."""

    node: onnx.NodeProto
    orders: Mapping[int, Order]
    network: Network

    def shape(self, position: int) -> tuple[int, ...]:
        name = self.node.input[position]
        constant = self.constant(position)
        return constant.shape if constant is not None else self.network.whole_shape(name)

    def shape_of_output(self, position: int = 0) -> tuple[int, ...]:
        return self.network.whole_shape(self.node.output[position])

    def constant(self, position: int) -> npt.NDArray[Any] | None:
        inputs = self.node.input
        return self.network.constants.get(inputs[position]) if position < len(inputs) else None

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.node)

    @property
    def only(self) -> Order | None:
        """The order of input 0 where no other input has one."""
        return self.orders.get(0) if set(self.orders) == {0} else None


def reordered(node: onnx.NodeProto, orders: Mapping[int, Order], network: Network) -> Reordered | None:
    """``node`` for inputs in these orders; None where it cannot take them so.

    Args:
        node: Of ``network``.
        orders: Input position to the order in which its elements come, where that is not the network's own.
        network: Its constants and shapes.
    """
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(_Call(node, orders, network))


def _kept(call: _Call) -> Reordered | None:
    """Elements are looked at one by one, or along other axes."""
    if (order := call.only) is None:
        return None
    ranks_agree = len(call.shape(0)) == len(call.shape_of_output())
    if not ranks_agree or call.shape(0)[order.axis] != call.shape_of_output()[order.axis]:
        return None
    return Reordered({}, {0: order})


def _spatial(call: _Call) -> Reordered | None:
    is_by_channel = call.only is not None and call.only.axis == 1 and sum(map(bool, call.node.output)) == 1
    return _kept(call) if is_by_channel else None


def _broadcast(call: _Call) -> Reordered | None:
    """One element of each input gives one of the output; constants follow."""
    order = next(iter(call.orders.values()))
    rank = len(call.shape_of_output())
    changed: Constants = {}
    for position, name in enumerate(call.node.input):
        own = call.orders.get(position)
        shape = call.shape(position)
        axis = order.axis - (rank - len(shape))
        spread = axis < 0 or shape[axis] == 1
        if own is not None:
            if len(shape) != rank or not own.equals(order):
                return None
        elif spread:
            continue
        elif (value := call.constant(position)) is not None and name:
            changed[position] = value.take(order.index, axis)
        else:
            return None
    if call.shape_of_output()[order.axis] != len(order.index):
        return None
    return Reordered(changed, {0: order})


def _concat(call: _Call) -> Reordered | None:
    rank = len(call.shape_of_output())
    axis = call.attributes["axis"] % rank
    pieces, start = [], 0
    first = next(iter(call.orders.values()))
    for position in range(len(call.node.input)):
        own, length = call.orders.get(position), call.shape(position)[axis]
        if first.axis != axis:
            if own is None or not own.equals(first):
                return None
            continue
        if own is not None and own.axis != axis:
            return None
        pieces.append(start + (np.arange(length) if own is None else own.index))
        start += length
    return Reordered({}, {0: first if first.axis != axis else Order(axis, np.concatenate(pieces))})


def _flattened(call: _Call) -> Reordered | None:
    """Channels and what lies behind them become one axis."""
    order, before, after = call.only, call.shape(0), call.shape_of_output()
    if order is None or order.axis != 1 or len(before) < 2 or after != (1, int(np.prod(before[1:]))):
        return None
    behind = int(np.prod(before[2:]))
    return Reordered({}, {0: Order(1, (order.index[:, None] * behind + np.arange(behind)).ravel())})


def _transposed(call: _Call) -> Reordered | None:
    order = call.only
    turn = call.attributes.get("perm")
    return (
        None if order is None or turn is None else Reordered({}, {0: Order(list(turn).index(order.axis), order.index)})
    )


def _reduced(call: _Call) -> Reordered | None:
    order, rank = call.only, len(call.shape(0))
    axes = call.constant(1) if len(call.node.input) > 1 else call.attributes.get("axes")
    if order is None or axes is None:
        return None
    gone = sorted(int(a) % rank for a in np.atleast_1d(np.asarray(axes)))
    if order.axis in gone:
        return Reordered()
    if call.attributes.get("keepdims", 1):
        return Reordered({}, {0: order})
    return Reordered({}, {0: Order(order.axis - sum(a < order.axis for a in gone), order.index)})


def _split(call: _Call) -> Reordered | None:
    order = call.only
    if order is None:
        return None
    axis = call.attributes.get("axis", 0) % len(call.shape(0))
    lengths = [call.shape_of_output(k)[axis] for k in range(len(call.node.output))]
    if axis != order.axis:
        return Reordered({}, dict.fromkeys(range(len(lengths)), order))
    outputs, start = {}, 0
    for position, length in enumerate(lengths):
        piece = order.index[start : start + length] - start
        if sorted(piece.tolist()) != list(range(length)):
            return None
        outputs[position], start = Order(axis, piece), start + length
    return Reordered({}, outputs)


def _slice(call: _Call) -> Reordered | None:
    order = call.only
    values = [call.constant(k) for k in range(1, len(call.node.input))]
    if order is None or len(values) < 3 or any(v is None for v in values):
        return None
    starts, ends, axes, *steps = (np.asarray(v).ravel().tolist() for v in values)
    axes = [a % len(call.shape(0)) for a in axes]
    if order.axis not in axes:
        return Reordered({}, {0: order})
    at, length = axes.index(order.axis), call.shape(0)[order.axis]
    picked = np.arange(length)[slice(starts[at], ends[at], steps[0][at] if steps else 1)]
    piece = order.index[picked]
    if set(piece.tolist()) != set(picked.tolist()):
        return None
    place = {channel: k for k, channel in enumerate(picked.tolist())}
    return Reordered({}, {0: Order(order.axis, np.array([place[c] for c in piece.tolist()], np.int64))})


def _convolution(call: _Call) -> Reordered | None:
    """Groups may change places, and the channels within a group; what a group gives moves with it."""
    order, weight = call.only, call.constant(1)
    if order is None or order.axis != 1 or weight is None:
        return None
    is_transposed = call.node.op_type == "ConvTranspose"
    groups = call.attributes.get("group", 1)
    blocks = order.index.reshape(groups, -1)
    size = blocks.shape[1]
    came_from = blocks[:, 0] // size
    if (blocks // size != came_from[:, None]).any():
        return None
    out = (weight.shape[1] * groups if is_transposed else weight.shape[0]) // groups
    rows = (came_from[:, None] * out + np.arange(out)).ravel()
    if is_transposed:
        changed = weight[order.index]
    else:
        inside = blocks % size
        changed = np.concatenate([weight[rows[g * out : (g + 1) * out]][:, inside[g]] for g in range(groups)])
    constants: Constants = {1: changed}
    given = Order(1, rows)
    if given.is_identity:
        return Reordered(constants)
    if (bias := call.constant(2)) is not None:
        constants[2] = bias[rows]
    return Reordered(constants, {0: given})


def _gemm(call: _Call) -> Reordered | None:
    order, weight = call.only, call.constant(1)
    if order is None or weight is None or order.axis != 1 or call.attributes.get("transA", 0):
        return None
    return Reordered({1: weight.take(order.index, 1 if call.attributes.get("transB", 0) else 0)})


def _product(call: _Call) -> Reordered | None:
    order, weight = call.only, call.constant(1)
    if order is None or weight is None or weight.ndim < 2:
        return None
    if order.axis == len(call.shape(0)) - 1:
        return Reordered({1: weight.take(order.index, -2)})
    return Reordered({}, {0: order}) if weight.ndim == 2 else None


def _normalised(call: _Call) -> Reordered | None:
    order = call.only
    if order is None or order.axis != 1:
        return None
    values = {k: call.constant(k) for k in range(1, len(call.node.input))}
    if any(v is None for v in values.values()):
        return None
    return Reordered({k: v[order.index] for k, v in values.items() if v is not None}, {0: order})


_ELEMENTWISE = (*(ACTIVATIONS - {"PRelu"}), "Neg", "Abs", "Sqrt", "Exp", "Cast", "Identity", "Dropout", "Reciprocal")
_RULES: dict[str, Callable[[_Call], Reordered | None]] = {
    **dict.fromkeys((*_ELEMENTWISE, "Softmax", "LogSoftmax", "Resize", "Pad"), _kept),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _spatial),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Sum"), _broadcast),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _flattened),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"), _reduced),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "Concat": _concat,
    "Transpose": _transposed,
    "Split": _split,
    "Slice": _slice,
    "Gemm": _gemm,
    "MatMul": _product,
    "BatchNormalization": _normalised,
}


def output_rows(node: onnx.NodeProto, constants: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    """Everything that decides each output channel of a linear node, (channels, numbers); None of another node.

    Args:
        node: It.
        constants: By input position; None where none stands.
    """
    weight = constants[1] if len(constants) > 1 else None
    axis = _row_axis(node, weight)
    if weight is None or axis is None:
        return None
    groups = int(attributes(node).get("group", 1))  # type: ignore[call-overload]
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    bias = constants[2] if len(constants) > 2 else None
    if bias is not None and bias.size != len(rows):
        return None
    added = [np.zeros(len(rows)) if bias is None else bias.ravel()]
    if groups > 1:
        # A row of one group reads other channels than one of the next.
        added.append(np.repeat(np.arange(groups), len(rows) // groups) * (1 + np.abs(rows).max()))
    return np.concatenate([rows, np.stack(added, 1)], 1, dtype=np.float64)


def with_rows(node: onnx.NodeProto, constants: Sequence[npt.NDArray[Any] | None], index: Index) -> Constants:
    """The constants of a linear node that gives its output channels in another order."""
    weight, bias = constants[1], constants[2] if len(constants) > 2 else None
    axis = _row_axis(node, weight)
    assert weight is not None and axis is not None
    changed: Constants = {1: weight.take(index, axis)}
    if bias is not None:
        changed[2] = bias.take(index, -1)
    return changed


def _row_axis(node: onnx.NodeProto, weight: npt.NDArray[Any] | None) -> int | None:
    if weight is None:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attributes(node).get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attributes(node).get("transB", 0) else 1
    return weight.ndim - 1 if node.op_type == "MatMul" and weight.ndim == 2 else None


def row_order(wanted: npt.NDArray[Any], have: npt.NDArray[Any]) -> Index | None:
    """The order in which the rows of ``have`` are about those of ``wanted``; None where no order gives that."""
    one, other = (np.sort(np.linalg.norm(rows, axis=1)) for rows in (wanted, have))
    if not np.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.max(initial=0.0))):
        return None
    # Directions keep rows apart as well as all their numbers do, and are compared in a small part of the time.
    turn = np.random.default_rng(0).normal(size=(wanted.shape[1], min(32, wanted.shape[1])))
    a, b = wanted @ turn, have @ turn
    distances = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    free = np.ones(len(have), bool)
    index = np.empty(len(have), np.int64)
    for row, distance in enumerate(distances):
        nearest = np.where(free, distance, np.inf)
        # Rows that are the same keep their places.
        near = np.flatnonzero(nearest <= nearest.min() + 1e-12 * (1 + np.abs(distance).max()))
        index[row] = row if row in near else near[0]
        free[index[row]] = False
    return index
