"""Layers on signs as bits: the same answers as the stock operators that they replace, at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.binary.layers import find_layers
from multigraft.converters.binary.network import in_words, layers_to_keep, with_binary_layers
from multigraft.converters.binary.signs import Signs
from multigraft.converters.binary.windows import same_axis
from multigraft.converters.conversion.interpreters import MAIN, Runner, main_signature
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Tensor
from multigraft.tflite.tflite_file import write

ROUNDING = 1e-3
"""Of sums of 1,600 products; one sign that differs moves a result by 0.2 at least."""


class Sketch:
    """A float graph, written an operator at a time."""

    def __init__(self, rng: np.random.Generator, *shape: int) -> None:
        self.rng, self.ops, self.tensors = rng, list[Op](), [Tensor("x", shape)]
        self.last, self.shape = "x", shape

    def held(self, value: Array) -> str:
        self.tensors.append(Tensor(f"c{len(self.tensors)}", value.shape, str(value.dtype), data=value))
        return self.tensors[-1].name

    def add(self, kind: str, *more: str, shape: tuple[int, ...] | None = None, **options: OptionValue) -> None:
        self.shape = shape or self.shape
        name = f"t{len(self.tensors)}"
        self.ops.append(Op(kind, (self.last, *more), (name,), options))
        self.tensors.append(Tensor(name, self.shape))
        self.last = name

    def sign(self) -> None:
        self.add("SIGN")
        self.add("ADD", self.held(np.array([0.5], np.float32)), fused_activation_function="NONE")
        self.add("SIGN")

    def each(self, kind: str, value: Array, activation: str = "NONE") -> None:
        self.add(kind, self.held(value.astype(np.float32)), fused_activation_function=activation)

    def pad(self, pads: tuple[int, int, int, int], value: float) -> None:
        top, bottom, left, right = pads
        amounts = self.held(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        n, h, w, c = self.shape
        shape = (n, h + top + bottom, w + left + right, c)
        if value:
            self.add("PADV2", amounts, self.held(np.array([value], np.float32)), shape=shape)
        else:
            self.add("PAD", amounts, shape=shape)

    def conv(
        self, outputs: int, kernel: int, stride: int, dilation: int, groups: int, padding: str, sized: bool
    ) -> None:
        n, h, w, c = self.shape
        weights = self.rng.choice([-1.0, 1.0], (outputs, kernel, kernel, c // groups)).astype(np.float32)
        if sized:
            weights *= self.rng.uniform(0.1, 2, (outputs, 1, 1, 1)).astype(np.float32)
        span = (kernel - 1) * dilation + 1
        size = [-(-s // stride) if padding == "SAME" else (s - span) // stride + 1 for s in (h, w)]
        bias = self.rng.normal(0, 1, outputs).astype(np.float32) * sized
        options: dict[str, Any] = {"padding": padding, "fused_activation_function": "NONE"}
        options |= dict.fromkeys(("stride_w", "stride_h"), stride)
        options |= dict.fromkeys(("dilation_w_factor", "dilation_h_factor"), dilation)
        self.add(
            "CONV_2D", self.held(weights), self.held(bias.astype(np.float32)), shape=(n, *size, outputs), **options
        )

    def pool(self, padding: str) -> None:
        n, h, w, c = self.shape
        size = [-(-s // 2) if padding == "SAME" else s // 2 for s in (h, w)]
        options: dict[str, Any] = {"padding": padding, "fused_activation_function": "NONE"}
        options |= dict.fromkeys(("stride_w", "stride_h", "filter_width", "filter_height"), 2)
        self.add("MAX_POOL_2D", shape=(n, *size, c), **options)

    def between(self) -> None:
        """What may stand between a layer and the next sign, factors of both signs among it."""
        c = self.shape[3]
        for kind in self.rng.permutation(["MUL", "ADD", "RELU", "PRELU", "POOL", "LEAKY"])[: self.rng.integers(1, 5)]:
            if kind == "MUL":
                self.each("MUL", self.rng.normal(0, 1, c), str(self.rng.choice(["NONE", "NONE", "RELU6"])))
            elif kind == "ADD":
                self.each("ADD", self.rng.normal(0, 3, c))
            elif kind == "PRELU":
                self.add("PRELU", self.held(self.rng.normal(0.2, 0.3, (1, 1, c)).astype(np.float32)))
            elif kind == "POOL":
                if min(self.shape[1:3]) > 1:
                    self.pool(str(self.rng.choice(["SAME", "VALID"])))
            elif kind == "LEAKY":
                self.add("LEAKY_RELU", alpha=0.25)
            else:
                self.add("RELU")

    def graph(self) -> Graph:
        return Graph.of("main", ["x"], [self.last], self.ops, self.tensors)


def answers(graph: Graph, x: Array) -> Array:
    content = write(Model((graph,), (main_signature(graph),)))
    (value,) = Runner(content)({"x": x}, MAIN).values()
    return value


def drawn(rng: np.random.Generator) -> Graph:
    """Two or three layers on signs, with any padding that ONNX has."""
    sketch = Sketch(rng, 1, int(rng.integers(6, 12)), int(rng.integers(6, 12)), int(rng.choice([3, 32, 40, 64])))
    for _ in range(rng.integers(2, 4)):
        sketch.sign()
        if rng.random() < 0.15 and min(sketch.shape[1:3]) > 3:
            sketch.pool("VALID")
        kernel, dilation = int(rng.choice([1, 2, 3, 5])), int(rng.choice([1, 1, 2]))
        groups = 2 if sketch.shape[3] == 64 and rng.random() < 0.3 else 1
        span = (kernel - 1) * dilation + 1
        stride = int(rng.choice([1, 1, 2, 3]))
        outputs = int(rng.choice([32, 40, 64]))
        way = rng.choice(["SAME", "VALID", "ZEROS", "ONES"])
        if way == "SAME":
            sketch.conv(outputs, kernel, stride, dilation, groups, "SAME", False)
        else:
            pads = (0, 0, 0, 0) if way == "VALID" else tuple(int(p) for p in rng.integers(0, span, 4))
            least = [sketch.shape[1] + pads[0] + pads[1], sketch.shape[2] + pads[2] + pads[3]]
            if min(least) < span:
                continue
            if any(pads):
                sketch.pad(pads, 0.0 if way == "ZEROS" else 1.0)  # type: ignore[arg-type]
            sketch.conv(outputs, kernel, stride, dilation, groups, "VALID", False)
        sketch.between()
    sketch.sign()
    sketch.conv(5, 1, 1, 1, 1, "VALID", True)
    return sketch.graph()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 32))
def test_random_networks_answer_as_with_stock_operators(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn(rng)
    found = find_layers(graph)
    binary = with_binary_layers(graph, ())
    assert sum(op.custom_code == "LceBconv2d" for op in binary.ops) == len(found.layers) >= 1
    x = rng.normal(0, 1, graph.tensors["x"].shape).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0.0
    np.testing.assert_allclose(answers(binary, x), answers(graph, x), rtol=0, atol=ROUNDING)


def chain(middle: Any) -> Graph:
    sketch = Sketch(np.random.default_rng(1), 1, 8, 8, 32)
    sketch.sign()
    sketch.conv(64, 3, 1, 1, 1, "SAME", False)
    middle(sketch)
    sketch.sign()
    sketch.conv(32, 3, 1, 1, 1, "SAME", True)
    return sketch.graph()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pooled", ["before", "behind", "not"])
def test_batch_norm_and_pooling_become_thresholds(pooled: str, sign: int) -> None:
    def middle(sketch: Sketch) -> None:
        if pooled == "before":
            sketch.pool("VALID")
        sketch.each("MUL", sign * sketch.rng.uniform(0.1, 1, 64))
        sketch.each("ADD", sketch.rng.normal(0, 2, 64))
        if pooled == "behind":
            sketch.pool("VALID")

    graph = chain(middle)
    binary = with_binary_layers(graph, ())
    packed = [op.custom_code for op in binary.ops if binary.tensors[op.outputs[0]].dtype == "int32"]
    assert packed == ["LceQuantize", "LceBconv2d", *(["LceBMaxPool2d"] if pooled != "not" else [])]
    x = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 32)).astype(np.float32)
    np.testing.assert_allclose(answers(binary, x), answers(graph, x), rtol=0, atol=ROUNDING)


def test_sums_of_exactly_0_keep_their_sign() -> None:
    """Every fourth sum or so is 0 times something here, whose sign is 1."""
    graph = chain(lambda sketch: sketch.each("MUL", sketch.rng.normal(0, 1, 64)))
    for value in (0.0, -1.0, 1.0):
        x = np.full((1, 8, 8, 32), value, np.float32)
        x[..., ::2] = 1.0
        np.testing.assert_allclose(answers(with_binary_layers(graph, ()), x), answers(graph, x), rtol=0, atol=ROUNDING)


def test_what_is_read_elsewhere_stays_float() -> None:
    graph = chain(lambda sketch: sketch.each("ADD", np.full(64, 0.25)))
    middle = next(op.outputs[0] for op in graph.ops if op.name == "ADD" and graph.tensors[op.inputs[1]].shape == (64,))
    binary = with_binary_layers(graph, [middle])
    assert middle in binary.tensors and binary.tensors[middle].dtype == "float32"
    assert binary.outputs == graph.outputs


@pytest.mark.parametrize(
    ("change", "why"),
    [("weights", "more than -a and a"), ("groups", "no multiple of 32"), ("channels", "wider than SAME")],
)
def test_what_cannot_be_bits_says_why(change: str, why: str) -> None:
    sketch = Sketch(np.random.default_rng(0), 1, 8, 8, 32)
    sketch.sign()
    if change == "channels":
        sketch.pad((4, 0, 4, 0), 0.0)
    sketch.conv(32, 3, 1, 1, 2 if change == "groups" else 1, "VALID", False)
    graph = sketch.graph()
    if change == "weights":
        weights = graph.tensors[graph.ops[-1].inputs[1]].data
        assert weights is not None
        weights[0, 0, 0, 0] = 0.5
    found = find_layers(graph)
    assert not found.layers and why in next(iter(found.refused.values()))
    assert with_binary_layers(graph, ()).ops == graph.ops
    told = in_words(graph, graph, Signs(onnx.ModelProto(), ("layer",), (), {}))
    assert why in told[0] and "nothing is binary; float32 or int8 may serve better" in told[-1]


def test_layers_stay_float_together_with_what_decides_their_signs() -> None:
    graph = chain(lambda sketch: sketch.each("MUL", sketch.rng.normal(0, 1, 64)))
    assert layers_to_keep(graph) == {op.outputs[0] for op in graph.ops}


@pytest.mark.parametrize("pads_one", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("span", [1, 2, 3, 5])
def test_padding_by_same_reads_what_was_asked_for(span: int, stride: int, pads_one: bool) -> None:
    """Compared with windows over a padded row, for all sizes and paddings of a few."""
    taken = 0
    for size in range(span, span + 6):
        for before in range(span):
            for behind in range(span):
                axis = same_axis(size, span, stride, before, behind, pads_one)
                if axis is None:
                    continue
                taken += 1
                row = np.concatenate([np.full(before, -1), np.arange(size), np.full(behind, -1)])
                wanted = [row[i * stride : i * stride + span] for i in range((len(row) - span) // stride + 1)]
                whole = np.concatenate([np.arange(size), np.full(axis.added, -1 if pads_one else size)])
                made = -(-len(whole) // axis.stride)
                first = max((made - 1) * axis.stride + span - len(whole), 0) // 2
                outside = np.concatenate([np.full(first, -1), whole, np.full(span * stride + span, -1)])
                given = [outside[i * axis.stride : i * axis.stride + span] for i in range(made)]
                assert made == axis.made
                kept = given[axis.begin :: axis.step][: axis.count]
                np.testing.assert_array_equal(kept, wanted)
    assert taken
