"""Whether a tensor is a step from -s to s of another: asked of onnxruntime, whatever operators stand for it.

Straight-through estimators leave all kinds of arithmetic behind: ``2 * Cast(x >= 0) - 1``, ``Where``, ``Sign`` behind a
clip, and ``clip + (sign - clip)``, whose gradient was of interest and whose value is the sign. What they have in common
is that one number becomes one of two. So the part between is run on numbers, and the place of the step is found between
two neighbours that float32 has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from multigraft.converters.network.steps import SCALAR_OPERATORS

Floats = npt.NDArray[np.float32]

_TOLERANCE = 1e-5
"""Of the step's size, and of the number that goes in: what ``x + (sign - x)`` loses by rounding."""

_REACH = 300.0
_MOST_NODES = 64


@dataclass(frozen=True)
class Step:
    """``output = size * sign(source - place)``, with the sign of 0 being 1.

    Attributes:
        source: Name of the tensor that decides.
        place: What ``source`` is compared with; finite.
        size: Where ``source`` is at least ``place``; negative for a step downwards.
        is_turned: ``output = size * sign(place - source)`` in place of that.
        is_zero_there: At ``place`` itself the network gives 0, which no bit can tell.
    """

    source: str
    place: float
    size: float
    is_turned: bool = False
    is_zero_there: bool = False


@dataclass(frozen=True)
class NoStep:
    """Why a tensor is none, as the end of a sentence; empty where nothing looks like one."""

    why: str = ""


def find_step(
    tensor: str,
    writers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, npt.NDArray[Any]],
    order: Mapping[str, int],
    opset: int,
) -> Step | NoStep:
    """The step that ``tensor`` is, of the earliest tensor that decides it.

    Args:
        tensor: Name of a float tensor.
        writers: Tensor to the node that computes it.
        constants: Values of what is constant.
        order: Tensor to the place of its writer; whatever is not in it is given.
        opset: Of the model.
    """
    found: Step | NoStep = NoStep()
    nodes: dict[str, onnx.NodeProto] = {}
    open_ends = {tensor}
    held: dict[str, npt.NDArray[Any]] = {}
    while len(nodes) < _MOST_NODES:
        last = max(open_ends, key=lambda name: order.get(name, -1))
        node = writers.get(last)
        if node is None or node.op_type not in SCALAR_OPERATORS or node.domain not in ("", "ai.onnx"):
            return found
        values = {n: constants[n] for n in node.input if n in constants}
        if any(v.size == 0 or not (v == v.reshape(-1)[0]).all() for v in values.values()):
            return found
        nodes[last] = node
        held |= {n: v.reshape(-1)[:1].reshape(()) for n, v in values.items()}
        open_ends = (open_ends - {last}) | {n for n in node.input if n and n not in constants}
        if not open_ends:
            return found
        if len(open_ends) == 1:
            (source,) = open_ends
            now = _judged(_Function(tensor, source, nodes, held, opset), source)
            if isinstance(now, Step):
                found = now
            elif isinstance(found, Step):
                return found
            elif now.why:
                found = now
    return found


class _Function:
    """A tensor as a function of another."""

    def __init__(
        self,
        tensor: str,
        source: str,
        nodes: Mapping[str, onnx.NodeProto],
        constants: Mapping[str, npt.NDArray[Any]],
        opset: int,
    ) -> None:
        self.numbers = [float(v) for v in constants.values() if v.dtype.kind in "fiu" and np.isfinite(v)]
        inside = list(nodes.values())[::-1]
        graph = helper.make_graph(
            inside,
            "step",
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["n"])],
            [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["n"])],
            [onnx.numpy_helper.from_array(v, n) for n, v in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self._source = source
        self._session: ort.InferenceSession | None
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception:
            self._session = None  # the source is of another type than float32

    @property
    def is_of_floats(self) -> bool:
        return self._session is not None

    def __call__(self, x: Floats) -> Floats:
        assert self._session is not None
        result: Floats = np.broadcast_to(self._session.run(None, {self._source: x})[0], x.shape)
        return result


def _judged(function: _Function, source: str) -> Step | NoStep:
    if not function.is_of_floats:
        return NoStep()
    x = _grid(function.numbers)
    try:
        y = function(x)
    except Exception:
        return NoStep()
    if not np.isfinite(y).all():
        return NoStep()
    size = float(np.median(np.abs(y)))
    slack = _TOLERANCE * np.maximum(1.0, np.abs(x)) * max(size, 1.0)
    middle = np.abs(y) <= slack
    if size == 0.0 or middle.sum() > 1 or not (middle | (np.abs(np.abs(y) - size) <= slack)).all():
        values = np.unique(np.round(y[np.abs(x) < 1], 4)) + 0.0
        if len(values) in (2, 3):
            return NoStep(f"its input takes the values {', '.join(f'{v:g}' for v in values)}, and not -s and s alone")
        return NoStep()
    up = y[~middle] > 0
    if np.count_nonzero(up[1:] != up[:-1]) != 1:
        return NoStep()
    return _placed(function, source, x[~middle], up, size)


def _placed(function: _Function, source: str, x: Floats, up: npt.NDArray[np.bool_], size: float) -> Step | NoStep:
    """Where between two numbers of the grid the step is, to the last bit."""
    at = int(np.flatnonzero(up[1:] != up[:-1])[0])
    rises = bool(up[-1])
    low, high = int(_ordinals(x[at : at + 1])[0]), int(_ordinals(x[at + 1 : at + 2])[0])
    zero: int | None = None
    while high - low > (1 if zero is None else 2):
        middle = (low + high) // 2
        middle += middle == zero
        y = float(function(_numbers(np.array([middle], np.int64)))[0])
        if abs(y) < size / 2:
            if zero is not None:
                return NoStep("its input is also 0 over a range of numbers")
            zero = middle
        elif (y > 0) == rises:
            high = middle
        else:
            low = middle
    signed = size if rises else -size
    if zero is not None:
        return Step(source, float(_numbers(np.array([zero], np.int64))[0]), signed, is_zero_there=True)
    if low == 0:  # the next number is so small that a subtraction may flush it to zero
        return Step(source, 0.0, -signed, is_turned=True)
    return Step(source, float(_numbers(np.array([high], np.int64))[0]), signed)


def _grid(constants: list[float]) -> Floats:
    sizes = np.concatenate([np.geomspace(1e-8, _REACH, 300), np.linspace(0.01, 4, 200)])
    near = [c for c in constants if abs(c) <= _REACH]
    near += [sign * (a + b) for a in near for b in (0.5, 1.0, *near) for sign in (-1, 1)][:200]
    points = np.array([*near, *(-c for c in near), 0.0], np.float32)
    around = [np.nextafter(points, np.float32(end)) for end in (-np.inf, np.inf)]
    values = np.concatenate([sizes, -sizes, points, *around]).astype(np.float32)
    normal = values[(values == 0) | (np.abs(values) >= np.finfo(np.float32).tiny)]
    result: Floats = np.unique(normal + np.float32(0))
    return result


def _ordinals(x: Floats) -> npt.NDArray[np.int64]:
    """float32 to whole numbers in the same order, neighbours to neighbours; both zeros to 0."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _numbers(ordinals: npt.NDArray[np.int64]) -> Floats:
    bits = np.where(ordinals >= 0, ordinals, (-ordinals) | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)
