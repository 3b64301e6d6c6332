"""Quantised ONNX (QuantizeLinear pairs, QLinear operators, dynamic quantisation) becomes float32 again.

Every integer tensor stands for real numbers, and the graph is rewritten to compute with those. What int8 had rounded in
the weights stays rounded; activations are no longer rounded. A range that begins at zero is how quantisers write a
ReLU that they took away, so that it comes back, with its upper end where that is 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from multigraft.converters.importing.forms.ordering import set_nodes
from multigraft.converters.importing.node_names import label
from multigraft.errors import UnsupportedOperatorError
from multigraft.tensors.arrays import Array

_MICROSOFT = "com.microsoft"
_NOT_NEGATIVE = frozenset(("Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs", "Exp", "Softplus", "Sqrt"))
_KEEPS_SIGN = frozenset(
    operator
    for line in (
        "MaxPool AveragePool GlobalAveragePool GlobalMaxPool Reshape Flatten Transpose Squeeze Unsqueeze Slice Gather",
        "Concat Split Identity Dropout DepthToSpace SpaceToDepth Expand Tile Add Mul",
    )
    for operator in line.split()
)
_MOVES_VALUES = _KEEPS_SIGN - {"Add", "Mul", "AveragePool", "GlobalAveragePool"}
"""Operators that mean the same on integers and on the numbers that they stand for."""

RELU6 = 6.0
RELU6_ERROR = 0.05


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether any node quantises, dequantises, or computes with quantised numbers."""
    return any(n.op_type in QUANTISED for n in model.graph.node)


def dequantise(model: onnx.ModelProto, where: str) -> None:
    """Rewrite the graph to float32, in place.

    Args:
        model: Its nodes in order.
        where: File name, for messages.

    Raises:
        UnsupportedOperatorError: A scale is computed, or an operator reads integers in a way that is not known.
    """
    _Dequantiser(model, where).run()


class _Dequantiser:
    """Walks the nodes in order.

    ``stands_for`` maps an integer tensor to the float tensor that holds what it stands for.
    """

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.graph, self.where = model.graph, where
        self.constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in self.graph.initializer}
        self.types = {v.name: v.type.tensor_type.elem_type for v in self.graph.input}
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 13)
        self.stands_for: dict[str, str] = {}
        self.dynamic: dict[str, str] = {}
        self.scaled: set[str] = set()
        self.not_negative: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.node = onnx.NodeProto()

    def run(self) -> None:
        for node in list(self.graph.node):
            self.node = node
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            rule = QUANTISED.get(node.op_type)
            if rule is not None:
                rule(self)
            else:
                self._other()
        set_nodes(self.graph, self.nodes)
        self._outputs()
        read = {n for node in self.graph.node for n in node.input} | {o.name for o in self.graph.output}
        given = {i.name: i for i in self.graph.initializer}
        written = {n for node in self.graph.node for n in node.output}
        kept = [
            given[k] if k in given else numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in read
        ]
        kept = [onnx.TensorProto.FromString(k.SerializeToString()) for k in kept if k.name not in written]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        del self.graph.value_info[:]

    def emit(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def store(self, wish: str, value: Array) -> str:
        name = wish
        while name in self.constants:
            name += "_"
        self.constants[name] = value
        return name

    def fail(self, problem: str) -> NoReturn:
        raise UnsupportedOperatorError(
            f"{self.where}: {label(self.node)} {problem}", "give the float32 network that it was made from"
        )

    def parameters(self, scale: str, zero: str) -> tuple[Array, Array]:
        """Scale and zero point, both constant."""
        if scale not in self.constants or (zero and zero not in self.constants):
            self.fail("has a scale that is computed at run time")
        factor = self.constants[scale].astype(np.float32)
        return factor, self.constants[zero] if zero else np.zeros((), np.uint8)

    def real(self, name: str, scale: str, zero: str, axis: int = 1) -> str:
        """The float tensor that integer tensor ``name`` stands for."""
        if name in self.stands_for:
            return self.stands_for[name]
        factor, offset = self.parameters(scale, zero)
        if name in self.constants:
            node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], axis=axis)
            value = self.evaluated(
                node, {"x": self.constants[name], "s": factor, "z": offset.astype(self.constants[name].dtype)}
            )
            self.stands_for[name] = self.store(f"{name}/float", value.astype(np.float32))
            return self.stands_for[name]
        if name not in self.types:
            self.fail(f"reads {name!r}, which is not known to be quantised")
        # The network's own input is integers.
        given = self.emit("Cast", [name], f"{name}/cast", to=TensorProto.FLOAT)
        if offset.any():
            given = self.emit("Sub", [given, self.store(f"{name}/zero", offset.astype(np.float32))], f"{name}/shifted")
        self.stands_for[name] = self.emit("Mul", [given, self.store(f"{name}/scale", factor)], f"{name}/float")
        return self.stands_for[name]

    def clamped(self, x: str, output: str, scale: str, zero: str) -> None:
        """Let integer tensor ``output`` stand for ``x``, behind the ReLU that its range expresses."""
        factor, offset = self.parameters(scale, zero)
        is_known = x in self.not_negative or x in self.types
        if factor.size == 1 and offset.dtype.kind in "iu" and not is_known:
            limits = np.iinfo(offset.dtype)
            if int(offset.reshape(-1)[0] if offset.size else 0) == limits.min and bool(zero):
                high = float(factor.reshape(-1)[0]) * (limits.max - limits.min)
                x = self._relu(x, f"{output}/float", abs(high - RELU6) < RELU6_ERROR)
        self.stands_for[output] = x

    def _relu(self, x: str, output: str, is_relu6: bool) -> str:
        self.not_negative.add(output)
        if not is_relu6:
            return self.emit("Relu", [x], output)
        low, high = (self.store(f"{output}/{n}", np.array(v, np.float32)) for n, v in (("low", 0), ("high", RELU6)))
        return self.emit("Clip", [x, low, high], output)

    def _scaled_bias(self) -> bool:
        """Keep a bias, which old quantisers divide by a dynamic scale to add it to integers, from being rounded."""
        node = self.node
        if self.scaled.isdisjoint(node.input) or node.op_type not in (
            "Mul",
            "Div",
            "Floor",
            "Round",
            "Cast",
            "Reshape",
        ):
            return False
        if any(i not in self.scaled and i not in self.constants for i in node.input):
            return False
        self.scaled.update(node.output)
        if node.op_type in ("Floor", "Round", "Cast"):
            self.emit("Identity", node.input, node.output[0])
        else:
            self.nodes.append(node)
        return True

    def _other(self) -> None:
        if self._scaled_bias():
            return
        node = self.node
        quantised = [i for i in node.input if i in self.stands_for and i not in self.constants]
        if quantised:
            if node.op_type == "Cast" and quantised[0] in self.dynamic:
                self.nodes.append(helper.make_node("Identity", [self.stands_for[quantised[0]]], [node.output[0]]))
                return
            if node.op_type == "Add" and all(i in self.dynamic or i in self.scaled for i in node.input):
                output = node.output[0]
                self.emit("Add", [self.dynamic.get(i, i) for i in node.input], f"{output}/float")
                self.stands_for[output] = self.dynamic[output] = f"{output}/float"
                return
            if node.op_type not in _MOVES_VALUES:
                self.fail("computes with quantised numbers in a way that multigraft does not know")
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self.stands_for.get(i, i) if i in quantised else i for i in node.input]
            copy.output[:] = [f"{o}/float" if o else "" for o in node.output]
            self.stands_for |= {o: f"{o}/float" for o in node.output if o}
            node = copy
        if node.op_type in _NOT_NEGATIVE or (
            node.op_type in _KEEPS_SIGN and all(i in self.not_negative for i in node.input if i not in self.constants)
        ):
            self.not_negative |= set(node.output)
        if node.op_type == "Clip" and len(node.input) > 1 and (low := self.constants.get(node.input[1])) is not None:
            self.not_negative |= set(node.output) if float(low) >= 0 else set()
        self.nodes.append(node)

    def _outputs(self) -> None:
        """Outputs that were integers are what they stand for, under their own names."""
        for output in self.graph.output:
            if output.name in self.stands_for and not any(output.name in n.output for n in self.graph.node):
                source = self.stands_for[output.name]
                self.graph.node.append(helper.make_node("Identity", [source], [output.name]))
                output.type.tensor_type.elem_type = TensorProto.FLOAT

    def evaluated(self, node: onnx.NodeProto, feeds: dict[str, Array]) -> Array:
        """What ``node`` gives for constants."""
        feeds |= {name: np.zeros(()) for name in node.input if name and name not in feeds}
        values = [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in feeds.items()
        ]
        result = helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)
        graph = helper.make_graph([node], "one", values, [result])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        try:
            results: Any = ReferenceEvaluator(model).run(None, feeds)
            value: Array = results[0]
        # The reference's operators check nothing: whatever does not fit ends in an error of theirs.
        except Exception as error:
            self.fail(f"cannot be computed from its constants ({error})")
        return value

    def attribute(self, name: str, default: Any) -> Any:
        return next((helper.get_attribute_value(a) for a in self.node.attribute if str(a.name) == name), default)

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ""

    def plain_attributes(self, *without: str) -> dict[str, Any]:
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute if a.name not in without}


def _quantize(d: _Dequantiser) -> None:
    x, output = d.input(0), d.node.output[0]
    if x in d.constants:
        # Weights in float, rounded by the pair: that they are rounded is part of the network.
        factor, offset = d.parameters(d.input(1), d.input(2))
        node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], axis=d.attribute("axis", 1))
        d.constants[output] = d.evaluated(node, {"x": d.constants[x], "s": factor, "z": offset})
        return
    d.clamped(x, output, d.input(1), d.input(2))


def _dequantize(d: _Dequantiser) -> None:
    output = d.node.output[0]
    if d.attribute("block_size", 0) and d.input(0) in d.constants:
        node = onnx.NodeProto()
        node.CopyFrom(d.node)
        feeds = {name: d.constants[name] for name in d.node.input if name in d.constants}
        if len(feeds) < len([i for i in d.node.input if i]):
            d.fail("has a scale that is computed at run time")
        d.constants[output] = d.evaluated(node, feeds).astype(np.float32)
        return
    source = d.real(d.input(0), d.input(1), d.input(2), d.attribute("axis", 1))
    if source in d.constants:
        d.constants[output] = d.constants[source]
        if any(o.name == output for o in d.graph.output):
            d.emit("Identity", [source], output)
        return
    if source in d.not_negative:
        d.not_negative.add(output)
    d.emit("Identity", [source], output)


def _dynamic_quantize(d: _Dequantiser) -> None:
    x, (quantised, scale, zero) = d.input(0), d.node.output
    d.stands_for[quantised] = x
    d.dynamic[quantised] = x
    # The scale is one from here on: its product with that of the weights is what is left to multiply by.
    d.constants[scale] = np.ones((), np.float32)
    d.scaled.add(scale)
    d.constants[zero] = np.zeros((), np.uint8)


def _integer_product(d: _Dequantiser) -> None:
    """MatMulInteger and ConvInteger: the weights without their zero point, times the number that was quantised."""
    a, b, b_zero = d.input(0), d.input(1), d.input(3)
    if a not in d.dynamic or b not in d.constants or (b_zero and b_zero not in d.constants):
        d.fail("multiplies integers that are not quantised dynamically")
    weight = d.constants[b].astype(np.float32)
    if b_zero:
        zero = d.constants[b_zero].astype(np.float32)
        is_conv = d.node.op_type == "ConvInteger"
        weight = weight - (zero.reshape(-1, *(1,) * (weight.ndim - 1)) if is_conv and zero.ndim else zero)
    output = d.node.output[0]
    d.emit(
        d.node.op_type.removesuffix("Integer"),
        [d.stands_for[a], d.store(f"{b}/float", weight)],
        f"{output}/float",
        **d.plain_attributes(),
    )
    d.stands_for[output] = d.dynamic[output] = f"{output}/float"


def _dynamic_lstm(d: _Dequantiser) -> None:
    """DynamicQuantizeLSTM: an LSTM whose weights are stored the other way round, with scales and zero points at 8."""
    weights = []
    for index, at in ((1, 8), (2, 10)):
        factor, offset = d.parameters(d.input(at), d.input(at + 1))
        if d.input(index) not in d.constants:
            d.fail("has weights that are computed at run time")
        # (directions, inputs, gates * size); one scale a direction, or one for every column of it.
        shape = (len(factor), 1, -1) if factor.ndim else (1, 1, 1)
        whole = d.constants[d.input(index)].astype(np.float32) - offset.astype(np.float32).reshape(shape)
        turned = np.ascontiguousarray((whole * factor.reshape(shape)).transpose(0, 2, 1))
        weights.append(d.store(f"{d.input(index)}/float", turned))
    inputs = [d.input(0), *weights, *(d.input(i) for i in range(3, 8))]
    d.nodes.append(helper.make_node("LSTM", inputs, list(d.node.output), d.node.output[0], **d.plain_attributes()))


def _product(kind: str) -> Callable[[_Dequantiser], None]:
    """QLinearConv (x, scale, zero, w, scale, zero, y scale, y zero, bias) and QLinearMatMul, QGemm (bias at 6)."""

    def rule(d: _Dequantiser) -> None:
        names = [d.input(i) for i in range(9)]
        x = d.real(names[0], names[1], names[2])
        w = d.real(names[3], names[4], names[5], axis=0 if kind == "Conv" or d.attribute("transB", 0) else 1)
        bias, to = (names[8], names[6:8]) if kind != "Gemm" else (names[6], names[7:9])
        inputs = [x, w]
        if bias:
            scale = d.parameters(names[1], "")[0] * d.parameters(names[4], "")[0]
            inputs.append(d.store(f"{bias}/float", (d.constants[bias] * scale).astype(np.float32)))
        output = d.node.output[0]
        d.emit(kind, inputs, f"{output}/product", **d.plain_attributes("activation", "activation_params"))
        d.clamped(f"{output}/product", output, *to)

    return rule


def _pairs(d: _Dequantiser, indices: Sequence[int]) -> Iterator[str]:
    yield from (d.real(d.input(i), d.input(i + 1), d.input(i + 2)) for i in indices)


def _binary(kind: str) -> Callable[[_Dequantiser], None]:
    def rule(d: _Dequantiser) -> None:
        output = d.node.output[0]
        d.emit(kind, list(_pairs(d, (0, 3))), f"{output}/result", **d.plain_attributes())
        d.clamped(f"{output}/result", output, d.input(6), d.input(7))

    return rule


def _unary(kind: str) -> Callable[[_Dequantiser], None]:
    def rule(d: _Dequantiser) -> None:
        output = d.node.output[0]
        if d.attribute("channels_last", 0):
            d.fail("computes with channels last")
        attributes = d.plain_attributes("channels_last", "opset")
        x = next(_pairs(d, (0,)))
        d.emit(kind, [x], f"{output}/result", **attributes)
        if kind in _NOT_NEGATIVE or (kind in _KEEPS_SIGN and x in d.not_negative):
            d.not_negative.add(f"{output}/result")
        d.clamped(f"{output}/result", output, d.input(3), d.input(4))

    return rule


def _concat(d: _Dequantiser) -> None:
    output = d.node.output[0]
    d.emit("Concat", list(_pairs(d, range(2, len(d.node.input), 3))), f"{output}/result", **d.plain_attributes())
    d.clamped(f"{output}/result", output, d.input(0), d.input(1))


QUANTISED: dict[str, Callable[[_Dequantiser], None]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _integer_product,
    "ConvInteger": _integer_product,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "QLinearConv": _product("Conv"),
    "QLinearMatMul": _product("MatMul"),
    "QGemm": _product("Gemm"),
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearConcat": _concat,
} | {f"QLinear{kind}": _unary(kind) for kind in ("AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu", "Softmax")}
"""Operator to what replaces it; those of onnxruntime's own set are included."""
