"""Networks of random branches, and relatives: other weights in some layers, nodes and channels in other orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from multigraft.converters.network.network import Network
from tests.converters.graft.networks import GREY, model

OPERATORS = ("Conv", "Conv", "Pointwise", "Depthwise", "Relu", "Sigmoid", "Add", "Concat", "MaxPool", "Twice")


@dataclass(frozen=True)
class Step:
    """One node of a graph: what it does, what it reads, and how many channels it gives."""

    op: str
    reads: tuple[int, ...]
    channels: int


@dataclass(frozen=True)
class RandomGraph:
    """A network of 8 x 8 positions; step 0 is the picture, and what nothing reads is an output.

    Attributes:
        steps: In an order in which they can run.
        seed: Of the weights.
    """

    steps: tuple[Step, ...]
    seed: int

    @property
    def outputs(self) -> tuple[int, ...]:
        read = {r for s in self.steps for r in s.reads}
        return tuple(k for k in range(1, len(self.steps)) if k not in read)

    def same_as_before(self, changed: set[int]) -> set[int]:
        """Steps whose whole descent has the weights that it had."""
        same: set[int] = set()
        for k, step in enumerate(self.steps):
            if k not in changed and all(r in same for r in step.reads):
                same.add(k)
        return same


def random_graph(rng: np.random.Generator, count: int, seed: int) -> RandomGraph:
    """A graph of about ``count`` steps."""
    steps = [Step("Input", (), 1), Step("Conv", (0,), 4)]
    while len(steps) < count:
        op = str(rng.choice(OPERATORS))
        x = int(rng.integers(max(1, len(steps) - 4), len(steps)))
        channels = steps[x].channels
        if op in ("Add", "Concat"):
            others = [k for k in range(1, len(steps)) if k != x and (op == "Concat" or steps[k].channels == channels)]
            if not others:
                continue
            y = int(rng.choice(others))
            total = channels if op == "Add" else channels + steps[y].channels
            if total <= 16:
                steps.append(Step(op, (x, y), total))
            continue
        out = int(rng.choice((3, 4, 6))) if op in ("Conv", "Pointwise") else channels
        steps.append(Step(op, (x,), out))
    return RandomGraph(tuple(steps), seed)


@dataclass
class Written:
    """A graph as one exporter writes it.

    Attributes:
        graph: What is written.
        name: Of the network.
        changed: Steps that get weights of their own.
        shuffled: Seed of another order of nodes and of channels; 0 keeps both.
    """

    graph: RandomGraph
    name: str
    changed: set[int] = field(default_factory=set)
    shuffled: int = 0

    def tensor(self, step: int) -> str:
        """The name that the network has for what a step gives."""
        return f"{self.name}/{self._name(step)}"

    def _name(self, step: int) -> str:
        return f"x{step}" if self.shuffled else f"t{step}"

    def network(self) -> Network:
        rng = np.random.default_rng(self.shuffled)
        orders: dict[int, npt.NDArray[np.int64]] = {0: np.arange(1)}
        of_width = {c: rng.permutation(c) if self.shuffled else np.arange(c) for c in range(1, 17)}
        nodes: dict[int, list[onnx.NodeProto]] = {}
        constants: dict[str, npt.NDArray[Any]] = {}
        for k, step in enumerate(self.graph.steps):
            if not step.reads:
                continue
            own = np.random.default_rng([self.graph.seed, k, k in self.changed])
            read = ["image" if r == 0 else self._name(r) for r in step.reads]
            order, made = self._step(k, step, own, orders, of_width, read, constants)
            orders[k], nodes[k] = order, made
        written: list[onnx.NodeProto] = []
        left, there = list(nodes), {0}
        while left:
            ready = [k for k in left if all(r in there for r in self.graph.steps[k].reads)]
            k = int(rng.choice(ready)) if self.shuffled else ready[0]
            left.remove(k)
            there.add(k)
            written += nodes[k]
        outputs: dict[str, tuple[int, ...]] = {
            self._name(k): (self.graph.steps[k].channels, 8, 8) for k in self.graph.outputs
        }
        return Network(self.name, model(written, constants, (1, 8, 8), outputs), GREY, "other")

    def _step(
        self,
        k: int,
        step: Step,
        own: np.random.Generator,
        orders: dict[int, npt.NDArray[np.int64]],
        of_width: dict[int, npt.NDArray[np.int64]],
        read: list[str],
        constants: dict[str, npt.NDArray[Any]],
    ) -> tuple[npt.NDArray[np.int64], list[onnx.NodeProto]]:
        order, out = orders[step.reads[0]], self._name(k)
        if step.op in ("Conv", "Pointwise", "Depthwise"):
            size, deep = (1 if step.op == "Pointwise" else 3), step.op == "Depthwise"
            inside = 1 if deep else len(order)
            weight = own.normal(size=(step.channels, inside, size, size)) / np.sqrt(inside * size * size)
            bias = own.normal(size=step.channels) / 4
            is_answer = k in self.graph.outputs
            given = order if deep else np.arange(step.channels) if is_answer else of_width[step.channels]
            weight = weight[given] if deep else weight[given][:, order]
            constants |= {f"{out}.w": weight.astype(np.float32), f"{out}.b": bias[given].astype(np.float32)}
            groups = step.channels if deep else 1
            node = helper.make_node("Conv", [*read, f"{out}.w", f"{out}.b"], [out], pads=[size // 2] * 4, group=groups)
            return given, [node]
        if step.op == "Concat":
            shift = len(order)
            joined = np.concatenate([order, orders[step.reads[1]] + shift])
            return joined, [helper.make_node("Concat", read, [out], axis=1)]
        if step.op == "Add":
            other, nodes = orders[step.reads[1]], []
            if not np.array_equal(order, other):
                # No exporter adds channels that lie in other orders: one side is brought into that of the other.
                turn = np.array([list(other).index(c) for c in order])
                constants[f"{out}.turn"] = np.eye(len(order), dtype=np.float32)[turn][:, :, None, None]
                nodes = [helper.make_node("Conv", [read[1], f"{out}.turn"], [f"{out}.turned"])]
                read = [read[0], f"{out}.turned"]
            return order, [*nodes, helper.make_node("Add", read[::-1] if self.shuffled else read, [out])]
        if step.op == "Twice":
            constants[f"{out}.two"] = np.array(2 + k / 10, np.float32)
            return order, [helper.make_node("Mul", [read[0], f"{out}.two"], [out])]
        more: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4} if step.op == "MaxPool" else {}
        return order, [helper.make_node(step.op, read, [out], **more)]
