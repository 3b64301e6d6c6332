"""Small networks built in code, for grafting tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.answers.kind import Kind
from multigraft.converters.network.frames import Frame
from multigraft.converters.network.network import Network, model_of
from multigraft.tensors.preprocessing import Preprocessing

OPSET = 20
GREY = Preprocessing(8, 8, "grey", (0.0,), (1 / 255,))


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    input_shape: tuple[int, ...],
    outputs: dict[str, tuple[int, ...]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *input_shape])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, *s]) for n, s in outputs.items()],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return model_of(graph, OPSET)


def residual_network(
    name: str,
    seed: int,
    *,
    classes: int = 3,
    width: int = 6,
    preprocessing: Preprocessing = GREY,
    kind: Kind = "classification",
    constants: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Network:
    """Stem, one residual block, one strided convolution, global pooling and a classifier whose answers vary.

    With ``constants`` those are taken as they are, in place of weights from the seed.
    """
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return np.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])), np.float32)

    values: dict[str, npt.NDArray[Any]] = {
        "w0": weights(width, preprocessing.channels, 3, 3),
        "b0": weights(width, 1)[:, 0],
        "w1": weights(width, width, 3, 3),
        "b1": weights(width, 1)[:, 0],
        "w2": weights(width, width, 3, 3),
        "b2": weights(width, 1)[:, 0],
        "w3": weights(2 * width, width, 3, 3),
        "b3": weights(2 * width, 1)[:, 0],
        "w4": weights(classes, 2 * width),
        "b4": weights(classes, 1)[:, 0],
    }
    same: dict[str, Any] = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], **same),
        helper.make_node("Relu", ["c0"], ["stem"]),
        helper.make_node("Conv", ["stem", "w1", "b1"], ["c1"], **same),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], **same),
        helper.make_node("Add", ["c2", "stem"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["block"]),
        helper.make_node("Conv", ["block", "w3", "b3"], ["c3"], strides=[2, 2], **same),
        helper.make_node("Relu", ["c3"], ["down"]),
        helper.make_node("GlobalAveragePool", ["down"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"], transB=1),
    ]
    size = (preprocessing.channels, preprocessing.height, preprocessing.width)

    def made() -> Network:
        return Network(name, model(nodes, values, size, {"logits": (classes,)}), preprocessing, kind)

    if constants is not None:
        values = dict(constants)
        return made()
    draft = made()
    flat = draft.run(draft.prepare(frames(64, seed, preprocessing.height)), [f"{name}/flat"])[f"{name}/flat"]
    spread = flat.std(0).astype(np.float32)
    values["w4"] /= spread + spread.max() / 4
    values["b4"] = -(values["w4"] @ flat.mean(0).astype(np.float32))
    return made()


def perturbed(network: Network, name: str, scale: float, seed: int = 0) -> Network:
    """A relative: the same graph with every weight moved a little."""
    rng = np.random.default_rng(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(network.model)
    for constant in copy.graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype == np.float32:
            moved = value + scale * value.std() * rng.normal(size=value.shape).astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), constant.name))
    return Network(name, copy, network.preprocessing)


def frames(count: int, seed: int = 0, size: int = 8) -> list[Frame]:
    """Smooth random grey frames."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, size // 2, size // 2)).repeat(2, 1).repeat(2, 2)
    return list((coarse * 0.8 + rng.integers(0, 52, (count, size, size))).astype(np.uint8))
