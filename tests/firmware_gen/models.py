"""Small int8 models written in code: one operator each, or a network with two heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Signature, Tensor

VERSIONS = {"RESHAPE": 1, "TRANSPOSE_CONV": 3, "READ_VARIABLE": 1, "QUANTIZE": 1}
"""Operator versions that tflite-runtime 2.14 registers, where 2 is not one."""


def f32(value: float) -> float:
    return float(np.float32(value))


def activation(name: str, shape: tuple[int, ...], scale: float = 0.05, zero_point: int = -128) -> Tensor:
    return Tensor(name, shape, "int8", Quant((f32(scale),), (zero_point,)))


def ints(name: str, values: list[int] | list[list[int]]) -> Tensor:
    data = np.array(values, np.int32)
    return Tensor(name, data.shape, "int32", None, data)


def single(op: str, inputs: list[Tensor], output: Tensor, version: int = 1, **options: OptionValue) -> bytes:
    """A model of one operator; the inputs without data are the model's."""
    given = [t.name for t in inputs if t.data is None]
    made = Op(op, tuple(t.name for t in inputs), (output.name,), options, version)
    return tflite_file.write(Model((Graph.of("main", given, [output.name], [made], [*inputs, output]),)))


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of what may be given once for both."""
    return value if isinstance(value, tuple) else (value, value)


def out_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    span = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size - span) // stride + 1


class Builder:
    """Appends operators to a graph; every method returns the name of its output."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []

    def add(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def quantisation(self, name: str) -> Quant:
        quant = self.tensors[name].quant
        assert quant is not None
        return quant

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        stride: int | tuple[int, int] = 1,
        padding: str = "SAME",
        dilation: int | tuple[int, int] = 1,
        fused: str = "RELU",
        scale: float = 0.05,
        zero_point: int = -128,
        depthwise: bool = False,
        bias: bool = True,
    ) -> str:
        _, height, width, depth = self.tensors[source].shape
        shape = (1, *kernel, channels) if depthwise else (channels, *kernel, depth)
        values = self.random.integers(-127, 128, shape).astype(np.int8)
        taps = int(np.prod(kernel)) * (1 if depthwise else depth)
        steps = (self.random.uniform(0.3, 2.0, channels) / (70 * np.sqrt(taps))).astype(np.float32)
        axis = 3 if depthwise else 0
        quant = Quant(tuple(map(float, steps)), (0,) * channels, axis)
        inputs = [source, self.add(Tensor(f"{name}/w", shape, "int8", quant, values))]
        if bias:
            bias_steps = steps * np.float32(self.quantisation(source).scales[0])
            data = np.rint(self.random.normal(0, 1.0, channels) / bias_steps).astype(np.int32)
            bias_quant = Quant(tuple(map(float, bias_steps)), (0,) * channels)
            inputs.append(self.add(Tensor(f"{name}/b", (channels,), "int32", bias_quant, data)))
        strides, dilations = pair(stride), pair(dilation)
        rows, columns = (
            out_size(*sides, padding) for sides in zip((height, width), kernel, strides, dilations, strict=True)
        )
        out = self.add(activation(name, (1, rows, columns, channels), scale, zero_point))
        options: dict[str, OptionValue] = {
            "padding": padding, "stride_h": strides[0], "stride_w": strides[1], "dilation_h_factor": dilations[0],
            "dilation_w_factor": dilations[1], "fused_activation_function": fused,
        }  # fmt: skip
        if depthwise:
            options["depth_multiplier"] = channels // depth
        self.ops.append(Op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", tuple(inputs), (out,), options, 3))
        return out

    def dense(
        self, name: str, source: str, units: int, scale: float = 0.1, zero_point: int = 3, per_channel: bool = False,
        fused: str = "NONE",
    ) -> str:  # fmt: skip
        depth = self.tensors[source].shape[-1]
        values = self.random.integers(-127, 128, (units, depth)).astype(np.int8)
        count = units if per_channel else 1
        steps = (self.random.uniform(0.5, 1.5, count) / (60 * np.sqrt(depth))).astype(np.float32)
        bias_steps = steps * np.float32(self.quantisation(source).scales[0])
        bias = np.rint(self.random.normal(0, 1, units) / bias_steps).astype(np.int32)
        weights_quant = Quant(tuple(map(float, steps)), (0,) * count)
        weights = self.add(Tensor(f"{name}/w", values.shape, "int8", weights_quant, values))
        bias_quant = Quant(tuple(map(float, bias_steps)), (0,) * count)
        offset = self.add(Tensor(f"{name}/b", bias.shape, "int32", bias_quant, bias))
        rows = self.tensors[source].shape[0]
        out = self.add(activation(name, (rows, units), scale, zero_point))
        options: dict[str, OptionValue] = {} if fused == "NONE" else {"fused_activation_function": fused}
        self.ops.append(Op("FULLY_CONNECTED", (source, weights, offset), (out,), options, 4))
        return out

    def plain(self, op: str, name: str, sources: list[str], result: Tensor, **options: OptionValue) -> str:
        out = self.add(replace(result, name=name))
        self.ops.append(Op(op, tuple(sources), (out,), options, VERSIONS.get(op, 2)))
        return out

    def graph(self, name: str, inputs: list[str], outputs: list[str]) -> Graph:
        return Graph.of(name, inputs, outputs, self.ops, self.tensors.values())

    def model(self, inputs: list[str], outputs: list[str]) -> bytes:
        return tflite_file.write(Model((self.graph("main", inputs, outputs),)))


def residual(seed: int = 0, size: int = 12) -> bytes:
    """A small residual network with depthwise and pointwise layers, pooling, a dense layer and softmax."""
    b = Builder(seed)
    b.add(activation("image", (1, size, size, 3), 1 / 128, 0))
    a = b.conv("first", "image", 8)
    x = b.conv("second", a, 8)
    x = b.conv("third", x, 8, fused="NONE", scale=0.09, zero_point=4)
    x = b.plain("ADD", "sum", [a, x], activation("", b.tensors[a].shape, 0.07), fused_activation_function="RELU")
    x = b.conv("depthwise", x, 8, depthwise=True)
    x = b.conv("pointwise", x, 12, kernel=(1, 1))
    x = b.conv("strided", x, 10, stride=2, fused="RELU6", scale=6 / 255)
    shape = b.tensors[x].shape
    x = b.plain(
        "AVERAGE_POOL_2D", "pool", [x], activation("", (1, 1, 1, 10), 6 / 255), padding="VALID", stride_w=1, stride_h=1,
        filter_height=shape[1], filter_width=shape[2],
    )  # fmt: skip
    b.add(ints("shape", [1, 10]))
    x = b.plain("RESHAPE", "flat", [x, "shape"], activation("", (1, 10), 6 / 255))
    x = b.dense("logits", x, 7)
    b.plain("SOFTMAX", "answer", [x], activation("", (1, 7), 1 / 256), beta=1.0)
    return b.model(["image"], ["answer"])


def real_valued() -> bytes:
    """float32 in and out, quantised between."""
    b = Builder(4)
    b.add(Tensor("real", (1, 8, 8, 3)))
    image = b.plain("QUANTIZE", "image", ["real"], activation("", (1, 8, 8, 3), 1 / 64, -5))
    x = b.conv("features", image, 6, stride=2, fused="NONE", zero_point=3)
    return b.model(["real"], [b.plain("DEQUANTIZE", "answer", [x], Tensor("", b.tensors[x].shape))])


def two_heads() -> tuple[bytes, dict[str, bytes]]:
    """A trunk and two heads as three signatures of one file, and each task's network on its own."""
    trunk = Builder(1)
    trunk.add(activation("image", (1, 8, 8, 1), 1 / 255))
    trunk.conv("features", "image", 8, stride=2)
    heads = {}
    for number, name in enumerate(("garment", "digit")):
        head = Builder(10 + number)
        head.add(trunk.tensors["features"])
        x = head.conv("conv", "features", 6)
        head.add(ints("axes", [1, 2]))
        x = head.plain("MEAN", "mean", [x, "axes"], activation("", (1, 6), 0.05), keep_dims=False)
        head.dense(name, x, 5 + number)
        heads[name] = head
    graphs = [trunk.graph("trunk", ["image"], ["features"])]
    signatures = [Signature("trunk", {"image": "image"}, {"features": "features"}, 0)]
    alone = {}
    for number, (name, head) in enumerate(heads.items(), 1):
        graphs.append(head.graph(f"head_{name}", ["features"], [name]))
        signatures.append(Signature(f"head_{name}", {"features": "features"}, {name: name}, number))
        whole = Builder()
        whole.ops = [*trunk.ops, *head.ops]
        whole.tensors = {**trunk.tensors, **head.tensors}
        alone[name] = whole.model(["image"], [name])
    return tflite_file.write(Model(tuple(graphs), tuple(signatures))), alone


def streamed() -> bytes:
    """Convolutions whose rows in between need not be held: a residual pair, a strided pair, and one of odd width."""
    b = Builder(8)
    b.add(activation("in", (1, 17, 15, 4), 0.03, -7))
    a = b.conv("a", "in", 8, kernel=(1, 1))
    x = b.conv("c", b.conv("b", a, 8), 8, kernel=(5, 3), fused="NONE", scale=0.09, zero_point=4)
    x = b.plain("ADD", "sum", [a, x], activation("", b.tensors[a].shape, 0.07), fused_activation_function="RELU")
    x = b.conv("e", b.conv("d", x, 12, stride=(2, 1)), 8, stride=(1, 2))
    x = b.conv("g", b.conv("f", x, 16, padding="VALID"), 3, padding="VALID", kernel=(2, 2))
    return b.model(["in"], [x])


def separable() -> bytes:
    """Depthwise and pointwise layers over rows that need not be held: odd sizes, strides 2 and 3, dilation."""
    b = Builder(9)
    b.add(activation("in", (1, 37, 19, 3), 0.03, -7))
    x = b.conv("a", "in", 8, stride=2)
    x = b.conv("expanded", x, 24, kernel=(1, 1))
    x = b.conv("depth", x, 24, stride=2, depthwise=True)
    x = b.conv("c", x, 12, kernel=(1, 1), fused="NONE", scale=0.09, zero_point=4)
    pooled = activation("", (1, 5, 5, 12), 0.09, 4)
    x = b.plain(
        "MAX_POOL_2D", "pool", [x], pooled, padding="VALID", stride_w=1, stride_h=2, filter_height=2, filter_width=1
    )
    x = b.conv("d", x, 24, kernel=(2, 1), fused="RELU6", scale=0.03)
    x = b.conv("wide", x, 24, kernel=(2, 5), depthwise=True, dilation=(1, 2), fused="NONE", zero_point=5)
    x = b.conv("multiplied", x, 48, kernel=(3, 2), depthwise=True, stride=(1, 3), padding="VALID")
    return b.model(["in"], [b.conv("e", x, 5, kernel=(1, 1))])


def narrow() -> bytes:
    """Depthwise layers over images narrower than high, as sounds are."""
    b = Builder(10)
    b.add(activation("in", (1, 25, 5, 8), 0.03, -7))
    x = b.conv("expanded", b.conv("depth", "in", 8, depthwise=True), 20, kernel=(1, 1))
    x = b.conv("long", x, 20, kernel=(5, 2), stride=(2, 1), depthwise=True, padding="VALID", fused="NONE", zero_point=9)
    x = b.conv("line", b.conv("c", x, 9, kernel=(1, 3), padding="VALID"), 9, kernel=(3, 1), depthwise=True)
    return b.model(["in"], [b.conv("d", x, 4, kernel=(1, 1))])


def remembering(initial: int | None = 7, seed: int = 3) -> bytes:
    """A streaming network: a variable holds the last three frames, CALL_ONCE fills it; another holds a running sum."""
    b = Builder(seed)
    frame = b.add(activation("frame", (1, 1, 6, 4), 0.03, -7))
    past = activation("past", (1, 3, 6, 4), 0.03, -7)
    window = activation("window", (1, 4, 6, 4), 0.03, -7)
    for variable in ("frames", "sum"):
        b.add(Tensor(variable, (), "resource"))
        b.ops.append(Op("VAR_HANDLE", (), (variable,), {"container": "", "shared_name": variable}))
    b.plain("READ_VARIABLE", "past", ["frames"], past)
    b.plain("CONCATENATION", "window", ["past", frame], window, axis=1, fused_activation_function="NONE")
    bounds = [b.add(ints(n, v)) for n, v in (("begin", [0, 1, 0, 0]), ("end", [1, 4, 6, 4]), ("steps", [1, 1, 1, 1]))]
    masks = {f"{m}_mask": 0 for m in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    b.plain("STRIDED_SLICE", "kept", ["window", *bounds], past, **masks)
    b.ops.append(Op("ASSIGN_VARIABLE", ("frames", "kept"), ()))
    features = b.conv("features", "window", 8, padding="VALID", kernel=(4, 3))
    shape = b.tensors[features].shape
    b.plain("READ_VARIABLE", "before", ["sum"], activation("", shape, 0.06, 2))
    b.plain("ADD", "after", ["before", features], activation("", shape, 0.06, 2), fused_activation_function="NONE")
    b.ops.append(Op("ASSIGN_VARIABLE", ("sum", "after"), ()))
    once = Builder()
    for variable, tensor in (("frames", past), ("sum", b.tensors["before"])):
        values = b.random.integers(-128, 128, tensor.shape) if initial is None else np.full(tensor.shape, initial)
        once.add(Tensor(variable, (), "resource"))
        once.add(replace(tensor, name=f"{variable}/initial", data=values.astype(np.int8)))
        once.ops.append(Op("VAR_HANDLE", (), (variable,), {"container": "", "shared_name": variable}))
        once.ops.append(Op("ASSIGN_VARIABLE", (variable, f"{variable}/initial"), ()))
    b.ops.insert(0, Op("CALL_ONCE", (), (), {"init_subgraph_index": 1}))
    return tflite_file.write(Model((b.graph("main", ["frame"], [features, "after"]), once.graph("once", [], []))))
