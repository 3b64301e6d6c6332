"""Detectors of three scales on one backbone, as several exporters would write them: built in code, weights by name."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = npt.NDArray[Any]


@dataclass(frozen=True)
class Export:
    """How a network is written down.

    Attributes:
        opset: Version of the operator set.
        folds: Whether batch norms are folded into the convolutions.
        shuffled: Seed of another order of the channels of every layer; 0 keeps it.
        prefix: Of every name.
        constants: Whether weights are Constant nodes in place of initialisers.
        heads_last: Whether all branches of the trunk are written before the first head.
    """

    opset: int = 17
    folds: bool = True
    shuffled: int = 0
    prefix: str = ""
    constants: bool = False
    heads_last: bool = True


@dataclass
class Detector:
    """Anchor-free heads on c3, c4 and c5 of a residual backbone with a top-down neck.

    Attributes:
        head: Seed of the heads' weights; those of the trunk are of seed 0.
        classes: Numbers beside the four of a box.
        width: Channels of the first layer.
        size: Height and width of the picture.
        export: How it is written down.
        tuned: Layers of the trunk with weights of their own, by the start of their names.
        act: Operator behind every convolution; "Silu" is Sigmoid and Mul.
    """

    head: int = 1
    classes: int = 1
    width: int = 8
    size: int = 32
    export: Export = field(default_factory=Export)
    tuned: Collection[str] = ()
    act: str = "Silu"

    def __post_init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, Weights] = {}
        self._order: dict[str, npt.NDArray[np.int64]] = {"image": np.arange(3)}

    def model(self) -> onnx.ModelProto:
        """As a file would hold it: one input, one output (1, 4 + classes, positions)."""
        w = self.width
        x = self._conv("stem", "image", w, 2)
        x = self._conv("down2", x, 2 * w, 2)
        c3 = self._residual("stage3", self._conv("down3", x, 2 * w, 1))
        c4 = self._residual("stage4", self._conv("down4", c3, 4 * w, 2))
        c5 = self._residual("stage5", self._conv("down5", c4, 4 * w, 2))
        p5 = self._conv("lateral5", c5, 2 * w, 1, 1)
        p4 = self._conv("neck4", self._concat("cat4", [self._up("up5", p5), c4]), 2 * w, 1)
        p3 = self._conv("neck3", self._concat("cat3", [self._up("up4", p4), c3]), 2 * w, 1)
        flat = [self._head(f"head{k}", p, self.size // s) for k, (p, s) in enumerate(((p3, 4), (p4, 8), (p5, 16)))]
        total = sum((self.size // s) ** 2 for s in (4, 8, 16))
        self._add("Concat", flat, "found", axis=2)
        if self.export.heads_last:
            heads = [n for n in self._nodes if "head" in n.name]
            self._nodes = [n for n in self._nodes if "head" not in n.name]
            end = [n for n in self._nodes if n.output[0].endswith("found")]
            self._nodes = [n for n in self._nodes if n not in end] + heads + end
        constants = [numpy_helper.from_array(v, self._named(k)) for k, v in self._constants.items()]
        if self.export.constants:
            held = [helper.make_node("Constant", [], [c.name], c.name + "/node", value=c) for c in constants]
            self._nodes, constants = [*held, *self._nodes], []
        graph = helper.make_graph(
            self._nodes,
            "detector",
            [helper.make_tensor_value_info(self._named("image"), TensorProto.FLOAT, [1, 3, self.size, self.size])],
            [helper.make_tensor_value_info(self._named("found"), TensorProto.FLOAT, [1, 4 + self.classes, total])],
            constants,
        )
        opset = self.export.opset
        model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _named(self, name: str) -> str:
        return self.export.prefix + name

    def _add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        read = [self._named(i) if i else "" for i in inputs]
        self._nodes.append(helper.make_node(op, read, [self._named(name)], self._named(name), **attributes))
        return name

    def _weights(self, name: str, shape: tuple[int, ...]) -> dict[str, Weights]:
        own = self.head if name.startswith("head") else 1000 * name.startswith(tuple(self.tuned))
        rng = np.random.default_rng([zlib.crc32(name.encode()), own])
        fan = int(np.prod(shape[1:]))
        return {
            "weight": (rng.normal(size=shape) * np.sqrt(2 / fan)).astype(np.float32),
            "gamma": rng.uniform(0.5, 1.5, shape[0]).astype(np.float32),
            "beta": rng.normal(size=shape[0]).astype(np.float32) / 4,
            "mean": rng.normal(size=shape[0]).astype(np.float32) / 4,
            "variance": rng.uniform(0.5, 1.5, shape[0]).astype(np.float32),
        }

    def _conv(self, name: str, x: str, out: int, stride: int, kernel: int = 3, like: str = "", act: bool = True) -> str:
        """Convolution, batch norm and activation; channels lie as those of ``like``, if given."""
        order_in = self._order[x]
        made = self._weights(name, (out, len(order_in), kernel, kernel))
        order = np.arange(out)
        if like:
            order = self._order[like]
        elif self.export.shuffled:
            order = np.random.default_rng([zlib.crc32(name.encode()), self.export.shuffled]).permutation(out)
        made = {key: value[order] for key, value in made.items()}
        weight = made["weight"][:, order_in]
        plain = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        if self.export.folds:
            factor = made["gamma"] / np.sqrt(made["variance"] + np.float32(1e-5))
            self._constants |= {f"{name}.w": weight * factor[:, None, None, None]}
            self._constants |= {f"{name}.b": made["beta"] - made["mean"] * factor}
            y = self._add("Conv", [x, f"{name}.w", f"{name}.b"], f"{name}.y", **plain)
        else:
            self._constants |= {f"{name}.w": weight} | {f"{name}.{k}": v for k, v in made.items() if k != "weight"}
            raw = self._add("Conv", [x, f"{name}.w"], f"{name}.raw", **plain)
            norms = [f"{name}.{k}" for k in ("gamma", "beta", "mean", "variance")]
            y = self._add("BatchNormalization", [raw, *norms], f"{name}.y", epsilon=1e-5)
        self._order[y] = order
        return self._active(name, y) if act else y

    def _active(self, name: str, y: str) -> str:
        if self.act == "Silu":
            gate = self._add("Sigmoid", [y], f"{name}.gate")
            made = self._add("Mul", [y, gate], f"{name}.active")
        else:
            made = self._add(self.act, [y], f"{name}.active")
        self._order[made] = self._order[y]
        return made

    def _residual(self, name: str, x: str) -> str:
        inner = self._conv(f"{name}.a", x, len(self._order[x]), 1)
        y = self._conv(f"{name}.b", inner, len(self._order[x]), 1, like=x, act=False)
        made = self._add("Add", [y, x] if self.export.folds else [x, y], f"{name}.sum")
        self._order[made] = self._order[x]
        return made

    def _up(self, name: str, x: str) -> str:
        self._constants |= {f"{name}.scales": np.array([1, 1, 2, 2], np.float32)}
        roi = ""
        if self.export.opset < 13:
            self._constants |= {f"{name}.roi": np.zeros(0, np.float32)}
            roi = f"{name}.roi"
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        made = self._add("Resize", [x, roi, f"{name}.scales"], name, **how)
        self._order[made] = self._order[x]
        return made

    def _concat(self, name: str, tensors: list[str]) -> str:
        made = self._add("Concat", tensors, name, axis=1)
        orders, start = [], 0
        for tensor in tensors:
            orders.append(self._order[tensor] + start)
            start += len(orders[-1])
        self._order[made] = np.concatenate(orders)
        return made

    def _head(self, name: str, x: str, side: int) -> str:
        y = self._conv(f"{name}.a", x, 2 * self.width, 1)
        out = 4 + self.classes
        made = self._weights(f"{name}.out", (out, len(self._order[y]), 1, 1))
        self._constants |= {f"{name}.w": made["weight"][:, self._order[y]], f"{name}.b": made["beta"]}
        z = self._add("Conv", [y, f"{name}.w", f"{name}.b"], f"{name}.z", kernel_shape=[1, 1])
        self._constants |= {f"{name}.shape": np.array([1, out, side * side], np.int64)}
        return self._add("Reshape", [z, f"{name}.shape"], f"{name}.flat")
