"""Small networks in forms that exporters, converters and people write, each of them valid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.converters.importing.network_builder import FLOAT, NetworkBuilder

SIZE = 16
CLASSES = 4


def classes(g: NetworkBuilder, x: str, channels: int = 8, output: str = "answer") -> str:
    flat = g.add("Flatten", [g.add("GlobalAveragePool", [x], f"{output}.pool")], f"{output}.flat")
    w, b = g.weight(f"{output}.w", CLASSES, channels), g.weight(f"{output}.b", CLASSES)
    return g.add("Gemm", [flat, w, b], output, transB=1)


def conv_relu(g: NetworkBuilder, x: str, name: str, inputs: int = 8) -> str:
    w = g.weight(f"{name}.w", 8, inputs, 3, 3)
    return g.add("Relu", [g.add("Conv", [x, w], f"{name}.c", pads=[1] * 4, strides=[2, 2])], name)


def plain(seed: int = 0, opset: int = 17, batch: int | str = 1) -> onnx.ModelProto:
    g = NetworkBuilder(seed)
    y = conv_relu(g, conv_relu(g, "image", "a", 3), "b")
    return g.model(classes(g, y), shape=(batch, 3, SIZE, SIZE), opset=opset)


def initialisers_as_inputs(seed: int = 0) -> onnx.ModelProto:
    """Version 3 of the format, operator set 7."""
    model = plain(seed, opset=7)
    model.ir_version = 3
    infos = [helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in model.graph.initializer]
    image = model.graph.input[0]
    del model.graph.input[:]
    model.graph.input.extend([*infos, image])
    return model


def sparse(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    for stored in [i for i in model.graph.initializer if i.name.startswith("b.w")]:
        value = numpy_helper.to_array(stored) * (np.arange(8) % 2).reshape(-1, 1, 1, 1).astype(np.float32)
        at = numpy_helper.from_array(np.flatnonzero(value).astype(np.int64), f"{stored.name}_at")
        values = numpy_helper.from_array(value[value != 0], stored.name)
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, at, value.shape))
        model.graph.initializer.remove(stored)
    return model


def unsorted(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def functions(seed: int = 0) -> onnx.ModelProto:
    """A block as a function of its own domain, with an attribute, called twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    conv = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
    strides = conv.attribute.add()
    strides.name, strides.ref_attr_name, strides.type = "strides", "step", onnx.AttributeProto.INTS
    body = [conv, helper.make_node("Relu", ["c"], ["y"])]
    g = NetworkBuilder(seed)
    a = g.add("Block", ["image", g.weight("a.w", 8, 3, 3, 3)], "a", domain="own", step=[2, 2])
    b = g.add("Block", [a, g.weight("b.w", 8, 8, 3, 3)], "b", domain="own", step=[2, 2])
    model = g.model(classes(g, b), shape=(1, 3, SIZE, SIZE))
    model.functions.append(helper.make_function("own", "Block", ["x", "w"], ["y"], body, opsets, ["step"]))
    model.opset_import.append(opsets[1])
    return model


def dynamic_batch(seed: int = 0) -> onnx.ModelProto:
    return plain(seed, batch="N")


def dynamic_size(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    for place, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("N", "C", "H", "W"), strict=True):
        place.Clear()
        place.dim_param = name
    return model


def fixed_batch(seed: int = 0) -> onnx.ModelProto:
    """Batch 4, written into a Reshape, too."""
    g = NetworkBuilder(seed)
    y = g.add("GlobalAveragePool", [conv_relu(g, conv_relu(g, "image", "a", 3), "b")], "pool")
    y = g.add("Reshape", [y, g.constant("shape", np.array([4, 8], np.int64))], "flat")
    g.add("Gemm", [y, g.weight("w", CLASSES, 8), g.weight("bias", CLASSES)], "answer", transB=1)
    return g.model("answer", shape=(4, 3, SIZE, SIZE))


def unused_input(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    model.graph.input.append(helper.make_tensor_value_info("image_size", TensorProto.INT64, [2]))
    return model


def duplicate_node_names(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    for node in model.graph.node:
        node.name = "node"
    return model


def node_called_as_what_another_writes(seed: int = 0) -> onnx.ModelProto:
    """Nodes without a name are called as what they write."""
    model = plain(seed)
    first, second = model.graph.node[:2]
    first.name, second.name = second.output[0], ""
    return model


def unnamed_nodes(seed: int = 0) -> onnx.ModelProto:
    model = plain(seed)
    for node in model.graph.node:
        node.name = ""
    return model


def strange_names(seed: int = 0) -> onnx.ModelProto:
    """As TensorFlow's exporters write them, and as people do."""
    model = plain(seed)
    names = {
        "image": "serving/входной образ:0",
        "a": "блок/1:0",
        "b": "a b;c,d=\"e\"'f'\\n[0]{1}",
        "answer": "StatefulPartitionedCall/réponse:0",
        "a.w": "重み/kernel:0",
    }
    for node in model.graph.node:
        for names_of in (node.input, node.output):
            for i, name in enumerate(names_of):
                names_of[i] = names.get(name, name)
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = names.get(value.name, value.name)
    return model


def initialiser_as_output(seed: int = 0) -> onnx.ModelProto:
    """A weight among the answers, and the bias of the last layer."""
    model = plain(seed)
    for name, shape in (("a.w", [8, 3, 3, 3]), ("answer.b", [CLASSES])):
        model.graph.output.append(helper.make_tensor_value_info(name, FLOAT, shape))
    return model


def identities(seed: int = 0) -> onnx.ModelProto:
    """Before the first layer, between layers, behind the answer, and on weights."""
    g = NetworkBuilder(seed)
    x = g.add("Identity", [g.add("Identity", ["image"], "i0")], "i1")
    w = g.add("Identity", [g.add("Identity", [g.weight("w", 8, 3, 3, 3)], "w0")], "w1")
    y = g.add("Relu", [g.add("Identity", [g.add("Conv", [x, w], "c", pads=[1] * 4, strides=[2, 2])], "i2")], "r")
    y = classes(g, g.add("Identity", [g.add("Dropout", [y], "d")], "i3"), output="last")
    return g.model(g.add("Identity", [g.add("Identity", [y], "i4")], "answer"), shape=(1, 3, SIZE, SIZE))


def empty_names(seed: int = 0) -> onnx.ModelProto:
    """Optional inputs and outputs left out by an empty name, in the middle and at the end."""
    g = NetworkBuilder(seed)
    y = g.add("Conv", ["image", g.weight("w", 8, 3, 3, 3), ""], "c", pads=[1] * 4)
    y = g.add("Clip", [y, "", g.constant("most", np.float32(2))], "clipped")
    g.nodes.append(helper.make_node("MaxPool", [y], ["p", ""], kernel_shape=[2, 2], strides=[2, 2]))
    g.nodes.append(helper.make_node("Dropout", ["p", "", ""], ["dropped", ""]))
    y = g.add("Resize", ["dropped", "", g.constant("scales", np.array([1, 1, 2, 2], np.float32))], "resized")
    return g.model(classes(g, conv_relu(g, y, "b")), shape=(1, 3, SIZE, SIZE))


def branch(g: NetworkBuilder, name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, FLOAT, None)])


def constant_if(seed: int = 0) -> onnx.ModelProto:
    """An If inside an If, both decided: by a constant, and by the rank of a tensor."""
    g = NetworkBuilder(seed)
    y = conv_relu(g, "image", "a", 3)
    g.constant("yes", np.array(True))
    inner_then = branch(g, "inner_then", [helper.make_node("Relu", ["a"], ["inner_t"])], "inner_t")
    inner_else = branch(g, "inner_else", [helper.make_node("Neg", ["a"], ["inner_e"])], "inner_e")
    inner = helper.make_node("If", ["yes"], ["t"], then_branch=inner_then, else_branch=inner_else)
    outer_else = branch(g, "outer_else", [helper.make_node("Neg", ["a"], ["e"])], "e")
    shape = g.add("Shape", [y], "shape")
    rank = g.add("Size", [shape], "rank")
    is_picture = g.add("Equal", [rank, g.constant("four", np.array(4, np.int64))], "is_picture")
    chosen = g.add("If", [is_picture], "chosen", then_branch=branch(g, "then", [inner], "t"), else_branch=outer_else)
    return g.model(classes(g, chosen), shape=(1, 3, SIZE, SIZE))


def constant_loop(seed: int = 0) -> onnx.ModelProto:
    """Three rounds of one convolution."""
    g = NetworkBuilder(seed)
    conv_relu(g, "image", "a", 3)
    g.weight("loop.w", 8, 8, 3, 3)
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["state", "loop.w"], ["conv"], pads=[1] * 4),
            helper.make_node("Tanh", ["conv"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
    )
    rounds, go = g.constant("rounds", np.array(3, np.int64)), g.constant("go_first", np.array(True))
    return g.model(classes(g, g.add("Loop", [rounds, go, "a"], "looped", body=body)), shape=(1, 3, SIZE, SIZE))


def loop_body(nodes: list[onnx.NodeProto], go_on: str, state: str, result: str) -> onnx.GraphProto:
    """Reads ``round``, ``go`` and ``state``; its rounds and conditions may be called as those of others."""
    number, go = (
        helper.make_tensor_value_info(*i, []) for i in (("round", TensorProto.INT64), ("go", TensorProto.BOOL))
    )
    outputs = [
        helper.make_tensor_value_info(go_on, TensorProto.BOOL, []),
        helper.make_tensor_value_info(result, FLOAT, None),
    ]
    return helper.make_graph(nodes, "body", [number, go, helper.make_tensor_value_info(state, FLOAT, None)], outputs)


def loop_of_choices(seed: int = 0, steps: int = 4) -> onnx.ModelProto:
    """Odd rounds halve and even ones run another loop of two rounds; then every other channel is kept."""
    g = NetworkBuilder(seed)
    conv_relu(g, "image", "a", 3)
    rounds, two = g.constant("rounds", np.array(steps, np.int64)), g.constant("two", np.array(2, np.int64))
    bend, again = helper.make_node("Tanh", ["inner"], ["bent"]), helper.make_node("Identity", ["go"], ["again"])
    inner = loop_body([bend, again], "again", "inner", "bent")
    then_branch = branch(g, "odd", [helper.make_node("Mul", ["state", "half"], ["halved"])], "halved")
    else_branch = branch(g, "even", [helper.make_node("Loop", ["two", "", "state"], ["twice"], body=inner)], "twice")
    g.constant("yes", np.array(True)), g.constant("half", np.float32(0.5))
    nodes = [
        helper.make_node("Mod", ["round", two], ["odd"]),
        helper.make_node("Cast", ["odd"], ["is_odd"], to=TensorProto.BOOL),
        helper.make_node("If", ["is_odd"], ["next"], then_branch=then_branch, else_branch=else_branch),
        helper.make_node("Cast", ["go"], ["go_on"], to=TensorProto.BOOL),
    ]
    looped = g.add("Loop", [rounds, "yes", "a"], "looped", body=loop_body(nodes, "go_on", "state", "next"))
    kept = g.constant("kept", np.arange(8) % 2 == 0)
    return g.model(classes(g, g.add("Compress", [looped, kept], "some", axis=1), 4), shape=(1, 3, SIZE, SIZE))


def loop_until_dark(seed: int = 0) -> onnx.ModelProto:
    """Halves until nothing is above a tenth."""
    g = NetworkBuilder(seed)
    conv_relu(g, "image", "a", 3)
    g.constant("half", np.float32(0.5)), g.constant("tenth", np.float32(0.1))
    nodes = [
        helper.make_node("Mul", ["state", "half"], ["next"]),
        helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "tenth"], ["go_on"]),
    ]
    rounds, go = g.constant("rounds", np.array(30, np.int64)), g.constant("go_first", np.array(True))
    looped = g.add("Loop", [rounds, go, "a"], "looped", body=loop_body(nodes, "go_on", "state", "next"))
    return g.model(classes(g, looped), shape=(1, 3, SIZE, SIZE))


FORMS: tuple[Callable[[int], onnx.ModelProto], ...] = (
    initialisers_as_inputs,
    sparse,
    unsorted,
    functions,
    dynamic_batch,
    dynamic_size,
    fixed_batch,
    unused_input,
    duplicate_node_names,
    node_called_as_what_another_writes,
    unnamed_nodes,
    strange_names,
    initialiser_as_output,
    identities,
    empty_names,
    constant_if,
)
