"""Quantisers of QONNX, as Brevitas exports them, written out in operators of ONNX.

``BipolarQuant`` is a sign times a scale. ``Quant`` is one, too, where it has one bit and is signed; else it clamps and
rounds ``x / scale + zero_point`` and takes that back. Source: QONNX, docs/qonnx-custom-ops; its operator sets had other
names before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from multigraft.converters.importing.forms.ordering import set_nodes
from multigraft.converters.network.network import attributes
from multigraft.errors import UnsupportedOperatorError

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_SIGN, _QUANT = "BipolarQuant", ("Quant", "IntQuant")
_ROUNDINGS = {"ROUND": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
_ROUND_SINCE = 11
"""Version of ONNX's operator set."""
_MOST_BITS = 24
"""Of whole numbers that float32 holds one by one."""


def write_out_quantisers(model: onnx.ModelProto, where: str) -> int:
    """Write out the quantisers of a model, in place; others of their operator set stay.

    Args:
        model: Stands alone, its nodes sorted and named.
        where: What to call it in a message.

    Returns:
        How many there were.

    Raises:
        UnsupportedOperatorError: One has a number of bits that is computed, a scale of 0, or rounds otherwise; it is
            named.
    """
    nodes, count = [], 0
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        if node.domain in DOMAINS and node.op_type in (_SIGN, *_QUANT):
            nodes += _Writer(model, node, constants, where).nodes()
            count += 1
        else:
            nodes.append(node)
    if count:
        set_nodes(model.graph, nodes)
    return count


class _Writer:
    """What stands for one quantiser."""

    def __init__(
        self, model: onnx.ModelProto, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], where: str
    ) -> None:
        self._model, self._node, self._constants, self._where = model, node, constants, where
        self._given: dict[str, Any] = attributes(node)
        self._nodes: list[onnx.NodeProto] = []

    def nodes(self) -> list[onnx.NodeProto]:
        inputs = list(self._node.input)
        if len(inputs) != (2 if self._node.op_type == _SIGN else 4) or not all(inputs):
            raise self._refused(f"has {len(inputs)} inputs")
        x, scale = inputs[:2]
        y = self._sign(x) if self._node.op_type == _SIGN else self._quantised(x, scale, inputs[2])
        self._add("Mul", y, scale)
        self._nodes[-1].output[0] = self._node.output[0]
        return self._nodes

    def _quantised(self, x: str, scale: str, zero_point: str) -> str:
        bits, is_signed = self._bits(), bool(self._given.get("signed", 1))
        is_centred = self._is(zero_point, lambda v: v == 0)
        if bits == 1 and is_signed and is_centred and self._is(scale, lambda v: v > 0):
            return self._sign(x)
        if scale in self._constants and not self._is(scale, lambda v: np.isfinite(v) & (v != 0)):
            raise self._refused("divides by a scale that is 0 or no number")
        x = self._add("Div", x, scale)
        if not is_centred:
            x = self._add("Add", x, zero_point)
        if bits == 1 and is_signed:
            y = self._sign(x)
        else:
            low = -(1 << bits - 1) if is_signed else 0
            high = low + (1 << bits) - 1
            if self._given.get("narrow", 1):
                low, high = (low + 1, high) if is_signed else (low, high - 1)
            y = self._add("Max", self._add("Min", x, self._number(high)), self._number(low))
            y = self._add(self._rounding(), y)
        return y if is_centred else self._add("Sub", y, zero_point)

    def _sign(self, x: str) -> str:
        below = self._add("Less", x, self._number(0))
        return self._add("Where", below, self._number(-1), self._number(1))

    def _bits(self) -> int:
        held = self._constants.get(self._node.input[3])
        value = None if held is None else numpy_helper.to_array(held)
        if value is None or value.size != 1:
            raise self._refused("has a number of bits that is no constant")
        bits = float(value.reshape(-1)[0])
        if bits not in range(1, _MOST_BITS + 1):
            raise self._refused(f"has {bits:g} bits")
        return int(bits)

    def _rounding(self) -> str:
        mode = self._given.get("rounding_mode", b"ROUND")
        name = mode.decode("utf-8", "replace") if isinstance(mode, bytes) else str(mode)
        if name.upper() not in _ROUNDINGS:
            raise self._refused(f"rounds by {name!r}")
        kind = _ROUNDINGS[name.upper()]
        version = next((o.version for o in self._model.opset_import if o.domain in ("", "ai.onnx")), 0)
        if kind == "Round" and version < _ROUND_SINCE:
            raise self._refused(f"rounds, which version {version} of ONNX's operator set does not")
        return kind

    def _is(self, name: str, holds: Any) -> bool:
        held = self._constants.get(name)
        return held is not None and bool(np.all(holds(numpy_helper.to_array(held))))

    def _number(self, value: float) -> str:
        name = f"{self._node.output[0]}/quant/{value:g}"
        if name not in self._constants:
            tensor = numpy_helper.from_array(np.array(value, np.float32), name)
            self._constants[name] = tensor
            self._model.graph.initializer.append(tensor)
        return name

    def _add(self, kind: str, *inputs: str) -> str:
        name = f"{self._node.output[0]}/quant.{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name))
        return name

    def _refused(self, why: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(
            f"{self._where}: {self._node.op_type} {self._node.name!r} {why}",
            f"export it with opset 13, scales above 0, 1 to {_MOST_BITS} constant bits, rounded to nearest, up or down",
        )
