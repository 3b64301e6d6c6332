"""ONNX operators as differentiable PyTorch functions, with onnxruntime's meaning of every attribute.

Opsets 13 to 20 of what image networks hold behind a share point. Attributes and integer inputs (axes, shapes, pads) are
read from the node and its constants; tensors have the frame as first axis. PyTorch comes in as an argument, since it is
an optional package.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import attributes, model_of, session_of
from multigraft.errors import UnsupportedOperatorError

Tensor = Any
"""A torch.Tensor."""


@dataclass(frozen=True)
class Call:
    """One node with what it needs.

    Attributes:
        torch: The PyTorch module.
        node: The ONNX node.
        x: Its inputs; None for those left out.
        constants: Constant inputs as arrays, by name.
        opset: The node's operator set.
        cache: Kept for this node between calls.
    """

    torch: Any
    node: onnx.NodeProto
    x: Sequence[Tensor]
    constants: dict[str, npt.NDArray[Any]]
    opset: int
    cache: dict[Any, Tensor]

    @property
    def f(self) -> Any:
        return self.torch.nn.functional

    @functools.cached_property
    def given(self) -> dict[str, Any]:
        return attributes(self.node)

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self.given.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def tensor(self, position: int) -> Tensor | None:
        """Input ``position``, or None where it is left out."""
        return self.x[position] if position < len(self.x) else None

    def fixed(self, position: int) -> npt.NDArray[Any] | None:
        """Constant input ``position``, or None where it is left out.

        Raises:
            UnsupportedOperatorError: It is computed by the network.
        """
        name = self.node.input[position] if position < len(self.node.input) else ""
        if not name:
            return None
        if name not in self.constants:
            raise self.unsupported(f"input {name!r} is not constant")
        return self.constants[name]

    def integers(self, position: int, attribute: str = "") -> list[int] | None:
        """A list of integers from an attribute of older opsets or a constant input of newer ones."""
        if attribute and attribute in self.given:
            return [int(v) for v in self.given[attribute]]
        value = self.fixed(position)
        return None if value is None else [int(v) for v in value.reshape(-1)]

    def unsupported(self, why: str) -> UnsupportedOperatorError:
        name = self.node.name or self.node.output[0]
        return UnsupportedOperatorError(
            f"{self.node.op_type} {name!r} cannot be trained ({why})", "leave refine off for this task"
        )


Operator = Callable[[Call], Any]
"""Returns the node's output, or a list of its outputs."""


def _window(c: Call, x: Tensor, kernel: Sequence[int], extra: bool = False) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads (begins, then ends) of a window; ``extra``: with what ceil_mode adds."""
    rank = len(kernel)
    strides = list(c.attribute("strides", [1] * rank))
    dilations = list(c.attribute("dilations", [1] * rank))
    pads = list(c.attribute("pads", [0] * 2 * rank))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = x.shape[2:]
    automatic = c.attribute("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(sizes, strides, reach, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = small + large if automatic == "SAME_UPPER" else large + small
    if extra and c.attribute("ceil_mode", 0):
        for i, (n, s, r) in enumerate(zip(sizes, strides, reach, strict=True)):
            outputs = -(-(n + pads[i] + pads[rank + i] - r) // s) + 1
            if (outputs - 1) * s >= n + pads[i]:
                outputs -= 1
            pads[rank + i] = max(pads[rank + i], (outputs - 1) * s + r - n - pads[i])
    return strides, dilations, pads


def _padded(c: Call, x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad the axes from 2 on; ``pads`` as ONNX orders them."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    return c.f.pad(x, [p for i in reversed(range(rank)) for p in (pads[i], pads[rank + i])], value=value)


def _conv(c: Call) -> Tensor:
    x, weight = c.x[0], c.x[1]
    strides, dilations, pads = _window(c, x, weight.shape[2:])
    rank = len(strides)
    padding: list[int] = [0] * rank
    if pads[:rank] == pads[rank:]:
        padding = pads[:rank]
    else:
        x = _padded(c, x, pads)
    run = getattr(c.f, f"conv{rank}d")
    return run(x, weight, c.tensor(2), strides, padding, dilations, c.attribute("group", 1))


def _conv_transpose(c: Call) -> Tensor:
    x, weight = c.x[0], c.x[1]
    if c.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in c.given:
        raise c.unsupported("it pads automatically")
    rank = weight.dim() - 2
    strides, dilations, pads = _window(c, x, weight.shape[2:])
    more = list(c.attribute("output_padding", [0] * rank))
    run = getattr(c.f, f"conv_transpose{rank}d")
    y = run(x, weight, c.tensor(2), strides, [0] * rank, more, c.attribute("group", 1), dilations)
    for i in range(rank):
        y = y.narrow(2 + i, pads[i], y.shape[2 + i] - pads[i] - pads[rank + i])
    return y


def _gemm(c: Call) -> Tensor:
    a, b = c.x[0], c.x[1]
    a = a.t() if c.attribute("transA", 0) else a
    b = b.t() if c.attribute("transB", 0) else b
    y = c.attribute("alpha", 1.0) * (a @ b)
    bias = c.tensor(2)
    return y if bias is None else y + c.attribute("beta", 1.0) * bias


def _batch_norm(c: Call) -> Tensor:
    if c.attribute("training_mode", 0):
        raise c.unsupported("it is in training mode")
    x, scale, bias, mean, variance = c.x[:5]
    return c.f.batch_norm(x, mean, variance, scale, bias, False, 0.0, c.attribute("epsilon", 1e-5))


def _layer_norm(c: Call) -> Tensor:
    shape = list(c.x[0].shape[c.attribute("axis", -1) :])
    return c.f.layer_norm(c.x[0], shape, c.x[1], c.tensor(2), c.attribute("epsilon", 1e-5))


def _max_pool(c: Call) -> Tensor:
    if len(c.node.output) > 1 and c.node.output[1]:
        raise c.unsupported("its indices are used")
    kernel = c.attribute("kernel_shape")
    strides, dilations, pads = _window(c, c.x[0], kernel, extra=True)
    run = getattr(c.f, f"max_pool{len(kernel)}d")
    return run(_padded(c, c.x[0], pads, -math.inf), kernel, strides, 0, dilations)


def _average_pool(c: Call) -> Tensor:
    x, kernel = c.x[0], c.attribute("kernel_shape")
    strides, dilations, pads = _window(c, x, kernel, extra=True)
    if any(d != 1 for d in dilations):
        raise c.unsupported("it is dilated")
    run = getattr(c.f, f"avg_pool{len(kernel)}d")
    if not any(pads):
        return run(x, kernel, strides)
    # The divisor counts the frame, with count_include_pad its pads too, but never what ceil_mode adds.
    ones = c.torch.ones_like(x[:1, :1])
    if c.attribute("count_include_pad", 0):
        *_, explicit = _window(c, x, kernel)
        ones, rest = _padded(c, ones, explicit, 1.0), [p - e for p, e in zip(pads, explicit, strict=True)]
    else:
        rest = pads
    return run(_padded(c, x, pads), kernel, strides) / run(_padded(c, ones, rest), kernel, strides)


def _reduce(reduction: str) -> Operator:
    def run(c: Call) -> Tensor:
        x = c.x[0]
        axes = c.integers(1, "axes") or []
        if not axes and c.attribute("noop_with_empty_axes", 0):
            return x
        axes = axes or list(range(x.dim()))
        return getattr(c.torch, reduction)(x, dim=axes, keepdim=bool(c.attribute("keepdims", 1)))

    return run


def _global(reduction: str) -> Operator:
    return lambda c: getattr(c.torch, reduction)(c.x[0], dim=list(range(2, c.x[0].dim())), keepdim=True)


def _clip(c: Call) -> Tensor:
    low, high = (c.fixed(p) for p in (1, 2))
    return c.x[0].clamp(None if low is None else float(low), None if high is None else float(high))


def _p_relu(c: Call) -> Tensor:
    return c.torch.where(c.x[0] > 0, c.x[0], c.x[1] * c.x[0])


def _hard_sigmoid(c: Call) -> Tensor:
    return (c.attribute("alpha", 0.2) * c.x[0] + c.attribute("beta", 0.5)).clamp(0, 1)


def _flatten(c: Call) -> Tensor:
    axis = c.attribute("axis", 1)
    axis = axis + c.x[0].dim() if axis < 0 else axis
    return c.x[0].reshape(math.prod(c.x[0].shape[:axis]), -1)


def _reshape(c: Call) -> Tensor:
    shape = c.integers(1) or []
    if not c.attribute("allowzero", 0):
        shape = [c.x[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return c.x[0].reshape(shape)


def _squeeze(c: Call) -> Tensor:
    axes = c.integers(1, "axes")
    return c.x[0].squeeze() if axes is None else c.x[0].squeeze(tuple(axes))


def _unsqueeze(c: Call) -> Tensor:
    y, axes = c.x[0], c.integers(1, "axes") or []
    rank = y.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        y = y.unsqueeze(axis)
    return y


def _transpose(c: Call) -> Tensor:
    return c.x[0].permute(c.attribute("perm", list(reversed(range(c.x[0].dim())))))


def _taken(c: Call, x: Tensor, axis: int, index: npt.NDArray[Any]) -> Tensor:
    return x.index_select(axis, c.torch.from_numpy(np.ascontiguousarray(index, np.int64)))


def _pad(c: Call) -> Tensor:
    x, pads = c.x[0], c.integers(1) or []
    axes = c.integers(3)
    axes = list(range(x.dim())) if axes is None else axes
    mode = c.attribute("mode", "constant")
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if mode == "constant":
            value = c.fixed(2)
            places = [0, 0] * (x.dim() - 1 - axis % x.dim()) + [before, after]
            x = c.f.pad(x, places, value=0.0 if value is None else float(value.reshape(())))
        elif before or after:
            length = x.shape[axis]
            index = np.pad(np.arange(length), (max(before, 0), max(after, 0)), mode=mode)
            x = _taken(c, x, axis, index[max(-before, 0) : len(index) - max(-after, 0)])
    return x


def _slice(c: Call) -> Tensor:
    y, starts, ends = c.x[0], c.integers(1) or [], c.integers(2) or []
    axes = c.integers(3) or list(range(len(starts)))
    steps = c.integers(4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        y = _taken(c, y, axis, np.arange(y.shape[axis])[start:end:step])
    return y


def _split(c: Call) -> list[Tensor]:
    x, axis = c.x[0], c.attribute("axis", 0)
    sizes = c.integers(1)
    if sizes is None:
        parts = len(c.node.output)
        step = -(-x.shape[axis] // parts)
        sizes = [min(step, x.shape[axis] - i * step) for i in range(parts)]
    return list(x.split(sizes, axis))


def _gather(c: Call) -> Tensor:
    x, index = c.x[0], c.fixed(1)
    assert index is not None
    axis = c.attribute("axis", 0) % x.dim()
    taken = _taken(c, x, axis, index.reshape(-1) % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _resize(c: Call) -> Tensor:
    """Interpolation works on each axis apart, so it is one matrix per axis."""
    y = c.x[0]
    if c.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise c.unsupported("it crops")
    if c.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise c.unsupported("it keeps the aspect ratio")
    scales, sizes = c.fixed(2), c.integers(3)
    given = c.attribute("axes")
    amounts = sizes if scales is None or not scales.size else [float(s) for s in scales]
    assert amounts is not None
    for axis, amount in zip(given or range(y.dim()), amounts, strict=True):
        length = y.shape[axis]
        if amount == (length if amounts is sizes else 1.0):
            continue
        key = axis, length
        if key not in c.cache:
            c.cache[key] = c.torch.from_numpy(_resize_matrix(c, length, amount))
        y = (y.movedim(axis, -1) @ c.cache[key]).movedim(-1, axis)
    return y


def _resize_matrix(c: Call, length: int, amount: float) -> npt.NDArray[np.float32]:
    """(length, new length): what onnxruntime makes of every unit vector along one axis."""
    kept = {k: v for k, v in c.given.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    by_size = isinstance(amount, int)
    amounts = np.array([length, 1, amount, 1], np.int64) if by_size else np.array([1, 1, amount, 1], np.float32)
    inputs = ["x", "", "", "amount"] if by_size else ["x", "", "amount"]
    node = onnx.helper.make_node("Resize", inputs, ["y"], **kept)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [length, 1, length, 1])
    initializer = onnx.numpy_helper.from_array(amounts, "amount")
    graph = onnx.helper.make_graph([node], "resize", [value], [onnx.ValueInfoProto(name="y")], [initializer])
    unit = np.eye(length, dtype=np.float32).reshape(length, 1, length, 1)
    (y,) = session_of(model_of(graph, c.opset), c.node.name).run(None, {"x": unit})
    return np.ascontiguousarray(y.reshape(length, -1))


def _function(name: str) -> Operator:
    """torch.NAME of all inputs."""
    return lambda c: getattr(c.torch, name)(*c.x)


def _folded(name: str) -> Operator:
    """torch.NAME from left to right over any number of inputs."""
    return lambda c: functools.reduce(getattr(c.torch, name), c.x)


_PLAIN = (
    *("Abs", "Add", "Div", "Erf", "Exp", "Log", "MatMul", "Mul", "Neg"),
    *("Pow", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"),
)
"""Operators that torch has under the same name in small letters."""

OPERATORS: dict[str, Operator] = {
    **{name: _function(name.lower()) for name in _PLAIN},
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda c: c.torch.cat(list(c.x), c.attribute("axis")),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Elu": lambda c: c.f.elu(c.x[0], c.attribute("alpha", 1.0)),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": lambda c: c.f.gelu(c.x[0], approximate=c.attribute("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("amax"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda c: c.x[0] * (c.x[0] / 6 + 0.5).clamp(0, 1),
    "Identity": lambda c: c.x[0],
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda c: c.f.leaky_relu(c.x[0], c.attribute("alpha", 0.01)),
    "LogSoftmax": lambda c: c.x[0].log_softmax(c.attribute("axis", -1)),
    "Max": _folded("maximum"),
    "MaxPool": _max_pool,
    "Min": _folded("minimum"),
    "Mish": lambda c: c.f.mish(c.x[0]),
    "PRelu": _p_relu,
    "Pad": _pad,
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": lambda c: c.x[0].softmax(c.attribute("axis", -1)),
    "Softplus": lambda c: c.f.softplus(c.x[0]),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sum": _folded("add"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""ONNX operator (default domain) to its PyTorch function."""
