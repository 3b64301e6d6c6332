"""Chains of convolutions whose layers have weights of seeds: relatives share seeds from the picture on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.graft.networks import frames, model

STRIDED = (1, 3)
"""Layers that halve the map."""


def chain(name: str, widths: Sequence[int], seeds: Sequence[int], *, size: int = 16, classes: int = 4) -> Network:
    """A classifier of ``len(widths)`` convolutions whose answers vary.

    Args:
        name: The task's; the classifier's weights are of it.
        widths: Channels of each layer.
        seeds: Of each layer's weights.
        size: Height and width of the grey picture.
        classes: Of the classifier.
    """
    preprocessing = Preprocessing(size, size, "grey", (0.0,), (1 / 255,))
    values: dict[str, npt.NDArray[Any]] = {}
    nodes, x, have = [], "image", 1
    for k, (width, seed) in enumerate(zip(widths, seeds, strict=True)):
        rng = np.random.default_rng([seed, k])
        values[f"w{k}"] = (rng.normal(size=(width, have, 3, 3)) * np.sqrt(2 / (9 * have))).astype(np.float32)
        values[f"b{k}"] = (rng.normal(size=width) * 0.1).astype(np.float32)
        stride = 2 if k in STRIDED else 1
        how: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", [x, f"w{k}", f"b{k}"], [f"c{k}"], **how))
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"]))
        x, have = f"r{k}", width
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "last", "bias"], ["logits"], transB=1))
    rng = np.random.default_rng([*name.encode()])
    values["last"] = rng.normal(size=(classes, have)).astype(np.float32)
    values["bias"] = np.zeros(classes, np.float32)

    def made() -> Network:
        graph = model(nodes, values, (1, size, size), {"logits": (classes,)})
        return Network(name, graph, preprocessing, "classification")

    draft = made()
    flat = draft.run(draft.prepare(frames(64, 9, size)), [f"{name}/flat"])[f"{name}/flat"]
    spread = flat.std(0).astype(np.float32)
    values["last"] /= spread + spread.max() / 4
    values["bias"] = -(values["last"] @ flat.mean(0).astype(np.float32))
    return made()
