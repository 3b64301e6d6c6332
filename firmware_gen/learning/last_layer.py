"""Which layer a board may solve anew, and the program in which that layer has room for more classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from multigraft.errors import UsageError
from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.program.program import Node, Program, Task
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Tensor

FOLLOWERS = ("SOFTMAX", "LOG_SOFTMAX", "DEQUANTIZE", "QUANTIZE")
"""Operators that may stand between the layer and the answer: each takes as many classes as there are."""
MOST_CLASSES = 128
LARGEST = 1 << 28
"""Of a bias and of what a class's sum is to be, so that no sum over frames overflows 64 bits."""
_WON, _LOST = 0.75, 0.5
"""Of the largest and of the least logit that can be stored, where no frames say what logits are."""


@dataclass(frozen=True)
class Known:
    """What frames without labels say of the classes that a network knows.

    Attributes:
        products: int32, (features + 1) * (features + 2) / 2: sums over frames of products of inputs of the layer less
            their zero point, a 1 behind them; the rows of the lower triangle.
        frames: How many.
        won: Mean of the largest logit of a frame.
        lost: Mean of the others.
    """

    products: Array
    frames: int
    won: float
    lost: float


@dataclass(frozen=True)
class Learning:
    """What a board is to learn.

    Args:
        task: Whose last layer it solves; "" for the only task.
        classes: How many classes there are then.
        known: Of classes that the network knows; without it those have to be shown to the board, too.
    """

    task: str
    classes: int
    known: Known | None = None


def check_boxes(has_boxes: bool) -> None:
    """Refuse to let tasks of a bundle learn of which some look at boxes.

    Raises:
        UsageError: Some do.
    """
    if has_boxes:
        raise UsageError("no task learns where tasks look at boxes of another one", "leave out --learn")


def task_of(program: Program, learning: Learning) -> Task:
    """The task that learns.

    Raises:
        UsageError: There is no such task, or it cannot learn.
    """
    tasks = {t.name: t for t in program.tasks}
    names = ", ".join(tasks)
    if not learning.task and len(tasks) > 1:
        raise UsageError("the model has several tasks", f"say which one learns, with --learn; there are: {names}")
    name = learning.task or names
    if name not in tasks:
        raise UsageError(f"there is no task {name!r} that could learn", f"choose from: {names}")
    task = tasks[name]
    if any(program.tasks[e.task].name == name for e in program.exits):
        raise UsageError(f"{name!r} leaves early, and an exit would not know what was learnt", "add --no-exits")
    if len(task.outputs) != 1 or task.joined:
        raise UsageError(f"{name!r} has several outputs", "let a task learn that has one answer, of one number a class")
    return task


def chain_of(program: Program, learning: Learning) -> tuple[int, ...]:
    """The steps from the layer that learns to the answer, the layer first.

    Raises:
        UsageError: The last layer is no dense layer of int8 that answers this task alone, or has that many classes.
    """
    task = task_of(program, learning)
    writers = {t.name: k for k, s in enumerate(program.steps) for t in s.node.outputs}
    answers = {n for t in program.tasks if t is not task for n in t.outputs}
    chain: list[int] = []
    place = task.outputs[0]
    remedy = "let a task learn whose network ends with a dense layer of int8"
    while True:
        readers = [s for s in program.steps if any(t is not None and t.name == place for t in s.node.inputs)]
        if place not in writers:
            raise UsageError(f"the network of {task.name!r} has no dense layer", remedy)
        if len(readers) > bool(chain) or place in answers:
            raise UsageError(f"the answer of {task.name!r} is read by others as well", remedy)
        chain.insert(0, writers[place])
        node = program.steps[chain[0]].node
        if node.name not in FOLLOWERS:
            break
        place = node.input(0).name
    if node.name != "FULLY_CONNECTED":
        raise UsageError(f"the last layer of {task.name!r} is {node.name}, not a dense one", remedy)
    _check(node, learning, task.name)
    return tuple(chain)


def _check(node: Node, learning: Learning, name: str) -> None:
    units, features = node.input(1).shape
    if node.input(1).data is None or node.input(0).data is not None or prod(node.input(0).shape) != features:
        raise UsageError(
            f"the last layer of {name!r} has several rows, or computed weights", "let a task learn with one row"
        )
    if units < 2:
        raise UsageError(f"{name!r} answers one number, which tells no classes apart", "let another task learn")
    if units > MOST_CLASSES:
        raise UsageError(
            f"{name!r} has {units} classes, and what learns has up to {MOST_CLASSES}", "let another task learn"
        )
    if not units <= learning.classes <= MOST_CLASSES:
        raise UsageError(
            f"{name!r} has {units} classes and cannot have {learning.classes}", f"choose from {units} to {MOST_CLASSES}"
        )
    if np.abs(_bias(node)).max(initial=0) > LARGEST:
        raise UsageError(f"a bias of the last layer of {name!r} is too large to learn beside", "build the bundle again")


def widened(program: Program, learning: Learning) -> Program:
    """The program whose last layer has ``learning.classes`` rows; those that were added lose, whatever the frame.

    Raises:
        UsageError: The task cannot learn.
    """
    chain = chain_of(program, learning)
    steps, tensors = list(program.steps), dict(program.tensors)
    layer = steps[chain[0]].node
    steps[chain[0]] = replace(steps[chain[0]], node=_wide(layer, learning))
    for place in chain:
        node = steps[place].node
        given = tuple(tensors.get(t.name, t) if t is not None and t.data is None else t for t in node.inputs)
        result = node.outputs[0]
        wide = replace(result, shape=(*result.shape[:-1], learning.classes))
        tensors[wide.name] = wide
        steps[place] = replace(steps[place], node=replace(node, inputs=given, outputs=(wide, *node.outputs[1:])))
    return replace(program, steps=tuple(steps), tensors=tensors)


def _wide(node: Node, learning: Learning) -> Node:
    weights, more = node.input(1), learning.classes - node.input(1).shape[0]
    assert weights.data is not None and weights.quant is not None
    scales = weights.quant.scales
    if len(scales) > 1:
        scales = (*scales, *[float(np.float32(np.mean(scales)))] * more)
    wide_quant = replace(weights.quant, scales=scales, zero_points=(0,) * len(scales))
    data = np.concatenate([weights.data, np.zeros((more, weights.shape[1]), weights.data.dtype)])
    wide = replace(weights, shape=data.shape, data=data, quant=wide_quant)
    lost = targets_of(replace(node, inputs=(node.inputs[0], wide)), learning)[:, 1]
    bias = np.concatenate([_bias(node), lost[len(lost) - more :]]).astype(np.int32)
    offset = node.inputs[2] if len(node.inputs) > 2 else None
    named = offset or Tensor(f"{node.written}/bias", (len(bias),), "int32")
    made = replace(named, shape=bias.shape, data=bias, quant=None)
    op = node.op if len(node.op.inputs) > 2 else replace(node.op, inputs=(*node.op.inputs[:2], made.name))
    return replace(node, op=op, inputs=(node.inputs[0], wide, made))


def _bias(node: Node) -> Array:
    offset = node.inputs[2] if len(node.inputs) > 2 else None
    if offset is None or offset.data is None:
        return np.zeros(node.input(1).shape[0], np.int64)
    return offset.data.astype(np.int64).reshape(-1)


def targets_of(node: Node, learning: Learning) -> Array:
    """int64, classes x 2: what a class's sum, bias included, is to be where it is the frame's, and where it is not."""
    steps = steps_of(node)
    result = quant(node.outputs[0])
    scale, zero_point = float(np.float32(result.scales[0])), result.zero_points[0]
    won, lost = _WON * scale * (127 - zero_point), _LOST * scale * (-128 - zero_point)
    if learning.known is not None:
        won, lost = learning.known.won, learning.known.lost
    return np.asarray(np.clip(np.rint(np.array([won, lost]) / steps[:, None]), -LARGEST, LARGEST), np.int64)


def reals_of(node: Node) -> Array:
    """float64, per class: by which its sum is scaled."""
    return np.asarray(steps_of(node) / float(np.float32(quant(node.outputs[0]).scales[0])))


def steps_of(node: Node) -> Array:
    """float64, per class: the real number that 1 in its sum stands for."""
    source, weights = quant(node.input(0)), quant(node.input(1))
    count = node.input(1).shape[0]
    scales: Sequence[float] = weights.scales if len(weights.scales) == count else weights.scales * count
    return np.array([float(np.float32(source.scales[0])) * float(np.float32(s)) for s in scales])
