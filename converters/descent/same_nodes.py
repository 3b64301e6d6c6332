"""Whether two nodes compute the same, whatever the exporter left out, named otherwise, or put in another order."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import Network

ROUNDING = 1e-5
"""Weights are the same within this share of their size and of the largest of them: a batch norm that one exporter folds
in float32 and another leaves to the importer differs by less."""

COMMUTATIVE = frozenset(("Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Equal"))
_BIASED = frozenset(("Conv", "ConvTranspose", "Gemm"))
_NEUTRAL = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
"""What stands for nothing in lists of these attributes."""

Constant = npt.NDArray[Any] | None
Key = tuple[Any, ...]


def computed_by(network: Network, node: onnx.NodeProto) -> Key:
    """What a node does apart from its constants and what it reads: equal for nodes that do the same."""
    if node.op_type in _RESHAPING:
        return ("", "Reshape", 1, ())
    default = _defaults(node.op_type, network.opset)
    said = dict(default)
    for attribute in node.attribute:
        said[attribute.name] = onnx.helper.get_attribute_value(attribute)
    is_weighted = len(node.input) > 1 and node.input[1] in network.constants
    kept = []
    for name, value in sorted(said.items()):
        if name == "kernel_shape" and node.op_type in ("Conv", "ConvTranspose") and is_weighted:
            continue
        if name == "axis" and isinstance(value, int) and value < 0 and node.input[0] not in network.constants:
            value += len(network.whole_shape(node.input[0]))
        if (name in _NEUTRAL and set(value) == {_NEUTRAL[name]}) or (name, value) == ("auto_pad", b"NOTSET"):
            continue
        kept.append((name, _plain(value)))
    return (node.domain, node.op_type, sum(map(bool, node.output)), tuple(kept))


def _plain(value: Any) -> Any:
    """A value of an attribute that can be compared and hashed."""
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString(deterministic=True)
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


@functools.cache
def _defaults(op_type: str, opset: int) -> Mapping[str, Any]:
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return {}
    stated = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    return {name: onnx.helper.get_attribute_value(value) for name, value in stated.items()}


def constants_of(network: Network, node: onnx.NodeProto, changed: Mapping[int, npt.NDArray[Any]]) -> list[Constant]:
    """By input position; a bias that is left out is zero. Of some operators, what their constants come to."""
    if (meaning := _MEANINGS.get(node.op_type)) is not None and node.input[0] not in network.constants:
        return [None, meaning(network, node)]
    values: list[Constant] = [changed.get(k, network.constants.get(name)) for k, name in enumerate(node.input)]
    if node.op_type in _BIASED and len([n for n in node.input if n]) == 2 and values[1] is not None:
        weight = values[1]
        wide = network.whole_shape(node.output[0])[1] if node.op_type != "Gemm" else _wide(node, weight)
        values[2:] = [np.zeros(wide, weight.dtype)]
    return values


def _shape(network: Network, node: onnx.NodeProto) -> npt.NDArray[Any]:
    return np.array(network.whole_shape(node.output[0]))


def _scales(network: Network, node: onnx.NodeProto) -> npt.NDArray[Any]:
    """Of a Resize, whether the file names scales or sizes."""
    given = network.constants.get(node.input[2]) if len(node.input) > 2 else None
    if given is not None and given.size == len(network.whole_shape(node.input[0])):
        return given.astype(np.float32)
    before, after = network.whole_shape(node.input[0]), network.whole_shape(node.output[0])
    return np.divide(after, before, dtype=np.float32)


def _bounds(network: Network, node: onnx.NodeProto) -> npt.NDArray[Any]:
    """Of a Slice: start, end and step of every axis, whole numbers within its length."""
    shape = network.whole_shape(node.input[0])
    bounds = [[0, length, 1] for length in shape]
    given = [network.constants.get(name) for name in node.input[1:]]
    starts, ends, axes, steps = ([] if v is None else v.ravel().tolist() for v in [*given, None, None][:4])
    for k, axis in enumerate(axes or range(len(starts))):
        bounds[axis] = list(slice(starts[k], ends[k], steps[k] if steps else 1).indices(shape[axis]))
    return np.array(bounds)


_RESHAPING = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze"))
"""What leaves every element where it is: the shape that comes of it says all."""
_MEANINGS = {**dict.fromkeys(_RESHAPING, _shape), "Resize": _scales, "Slice": _bounds}


def _wide(node: onnx.NodeProto, weight: npt.NDArray[Any]) -> int:
    turned = next((a.i for a in node.attribute if a.name == "transB"), 0)
    return int(weight.shape[0 if turned else 1])


def are_same(one: Sequence[Constant], other: Sequence[Constant]) -> bool:
    """Whether constants are equal within :data:`ROUNDING`; whole numbers exactly."""
    if len(one) != len(other):
        return False
    return all(_is_same(a, b) for a, b in zip(one, other, strict=True))


def _is_same(a: Constant, b: Constant) -> bool:
    if a is None or b is None:
        return a is b
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a is b or a.tobytes() == b.tobytes():
        return True
    if a.dtype.kind != "f":
        return False
    largest = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=ROUNDING, atol=ROUNDING * largest))


def reads(node: onnx.NodeProto, named: Sequence[str | None]) -> Key:
    """What a node reads, as a key: tensors by position, or in any order where that does not matter.

    Args:
        node: It.
        named: By input position; None for a constant, empty for an input that is left out.
    """
    if node.op_type in _RESHAPING:
        return ("Reshape", named[0], None)
    if node.op_type in _MEANINGS and all(not name for name in named[1:]):
        return (node.op_type, named[0], None)
    read = list(named)
    while read and read[-1] == "":
        read.pop()
    if node.op_type in _BIASED and len(read) == 2:
        read.append(None)
    if node.op_type in COMMUTATIVE:
        return (node.op_type, *sorted(read, key=lambda name: (name is None, name or "")))
    return (node.op_type, *read)


def in_order(node: onnx.NodeProto, constants: list[Constant]) -> list[Constant]:
    """Constants as they are compared: of what adds or multiplies its inputs, in any order."""
    if node.op_type not in COMMUTATIVE:
        return constants
    return [c for c in constants if c is not None]
