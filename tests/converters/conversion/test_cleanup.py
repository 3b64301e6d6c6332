"""Each clean-up rule: it removes what it should, computes the same, and leaves alone what it must."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.conversion import cleanup
from multigraft.converters.conversion.transposes import fold_transpose_into_reduction
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds, run

NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def assert_same(before: Graph, after: Graph, tolerance: float = 0.0) -> None:
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    for feed in feeds(before, 3):
        old, new = run(before, feed), run(after, feed)
        for name in before.outputs:
            assert old[name].shape == new[name].shape
            np.testing.assert_allclose(new[name], old[name], rtol=tolerance, atol=tolerance)


def kinds(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops]


def test_transposes_that_undo_each_other_disappear() -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 6, 5, 3), 4)
    y = b.transpose("back", b.transpose("there", x, *NCHW), *NHWC)
    graph = b.graph(b.conv("after", y, 2))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", "CONV_2D"]
    assert_same(graph, cleaned)


def test_a_transpose_at_an_output_keeps_the_output_name() -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 6, 5, 3), 4)
    graph = b.graph(b.transpose("out", b.transpose("there", x, *NCHW), *NHWC))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D"]
    assert_same(graph, cleaned)


def test_an_identity_between_input_and_output_stays() -> None:
    b = GraphBuilder()
    graph = b.graph(b.transpose("y", b.input("x", 1, 2, 3, 4), 0, 1, 2, 3))
    assert_same(graph, cleanup.clean(graph))


def test_channel_first_fragments_melt_away() -> None:
    """What onnx2tf 2.6 leaves around an output: transpose, activation, transpose."""
    b = GraphBuilder()
    x = b.input("x", 1, 6, 5, 3)
    there = b.transpose("there", b.conv("conv", x, 4), *NCHW)
    active = b.op("RELU", "relu", [there], (1, 4, 6, 5))
    back = b.transpose("back", active, *NHWC)
    graph = b.graph(b.conv("after", back, 2))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", "CONV_2D"]
    assert cleaned.ops[0].options["fused_activation_function"] == "RELU"
    assert_same(graph, cleaned)


def test_transposes_sink_below_sums_with_constants_and_concatenations() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 6, 5, 3)
    left = b.transpose("left", b.conv("one", x, 4), *NCHW)
    right = b.transpose("right", b.conv("two", x, 4), *NCHW)
    bias = b.constant("bias", np.arange(4.0).reshape(1, 4, 1, 1))
    shifted = b.op("ADD", "shifted", [left, bias], (1, 4, 6, 5), fused_activation_function="NONE")
    joined = b.op("CONCATENATION", "joined", [shifted, right], (1, 8, 6, 5), axis=1, fused_activation_function="NONE")
    graph = b.graph(b.conv("after", b.transpose("back", joined, *NHWC), 2))
    cleaned = cleanup.clean(graph)
    assert "TRANSPOSE" not in kinds(cleaned)
    assert_same(graph, cleaned)


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_transpose_before_a_reduction_folds_into_its_axes(kind: str, keep: bool) -> None:
    b = GraphBuilder()
    x = b.transpose("there", b.conv("conv", b.input("x", 1, 6, 5, 3), 4), *NCHW)
    shape = (1, 4, 1, 1) if keep else (1, 4)
    reduced = b.op(kind, "reduced", [x, b.constant("axes", [2, -1], "int32")], shape, keep_dims=keep)
    graph = b.graph(b.dense("out", b.reshape("flat", reduced, 1, 4), 3))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", kind, *(["RESHAPE"] if keep else []), "FULLY_CONNECTED"]
    assert_same(graph, cleaned, 1e-6)


def test_a_reduction_whose_rest_would_change_order_stays() -> None:
    b = GraphBuilder()
    x = b.transpose("there", b.conv("conv", b.input("x", 1, 6, 5, 3), 4), *NCHW)
    graph = b.graph(b.op("MEAN", "y", [x, b.constant("axes", [3], "int32")], (1, 4, 6), keep_dims=False))
    assert fold_transpose_into_reduction(graph) is graph


def test_a_transpose_of_single_elements_is_a_reshape_and_reshapes_merge() -> None:
    b = GraphBuilder()
    pooled = b.mean("pooled", b.conv("conv", b.input("x", 1, 6, 5, 3), 4), keep=True)
    first = b.transpose("first", pooled, *NCHW)
    graph = b.graph(b.dense("out", b.reshape("third", b.reshape("second", first, 4, 1), 1, 4), 3))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", "MEAN", "RESHAPE", "FULLY_CONNECTED"]
    assert_same(graph, cleaned)


def test_a_reshape_to_the_same_shape_disappears() -> None:
    b = GraphBuilder()
    y = b.reshape("same", b.conv("conv", b.input("x", 1, 6, 5, 3), 4), 1, 6, 5, 4)
    graph = b.graph(b.conv("after", y, 2))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", "CONV_2D"]
    assert_same(graph, cleaned)


@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
def test_a_lone_activation_fuses(kind: str) -> None:
    b = GraphBuilder()
    y = b.conv("conv", b.input("x", 1, 6, 5, 3), 4)
    graph = b.graph(b.op(kind, "out", [y], (1, 6, 5, 4)))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D"]
    assert_same(graph, cleaned)


def test_an_activation_does_not_fuse_where_its_input_is_needed() -> None:
    b = GraphBuilder()
    y = b.conv("conv", b.input("x", 1, 6, 5, 3), 4)
    active = b.op("RELU", "active", [y], (1, 6, 5, 4))
    both = b.op("ADD", "both", [y, active], (1, 6, 5, 4), fused_activation_function="NONE")
    assert kinds(cleanup.clean(b.graph(both))) == ["CONV_2D", "RELU", "ADD"]
    assert kinds(cleanup.clean(b.graph("active", "conv"))) == ["CONV_2D", "RELU"]


Layer = Callable[[GraphBuilder, str], str]


def padded(size: int, kernel: int, stride: int, dilation: int, amounts: tuple[int, int], depthwise: bool) -> Graph:
    b = GraphBuilder()
    x = b.pad("padded", b.conv("before", b.input("x", 1, size, size, 2), 3), amounts, amounts)
    return b.graph(b.conv("y", x, 3, kernel, stride, "VALID", dilation=dilation, depthwise=depthwise))


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(6, 11),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    amounts=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    depthwise=st.booleans(),
)
def test_a_pad_is_absorbed_exactly_where_same_pads_equally(
    size: int, kernel: int, stride: int, dilation: int, amounts: tuple[int, int], depthwise: bool
) -> None:
    if stride > 1 and dilation > 1:
        dilation = 1  # XNNPACK and the reference kernels disagree about supporting both
    if size + sum(amounts) < (kernel - 1) * dilation + 1:
        return
    graph = padded(size, kernel, stride, dilation, amounts, depthwise)
    cleaned = cleanup.clean(graph)
    equal = amounts == cleanup.same_padding(size, kernel, stride, dilation)
    assert ("PAD" not in kinds(cleaned)) == equal
    assert_same(graph, cleaned, 1e-6)


@pytest.mark.parametrize(
    ("value", "activation", "absorbed"),
    [(None, "RELU", True), (None, "NONE", False), (-3.5e38, "NONE", True), (0.0, "RELU6", True), (-1.0, "NONE", False)],
)
def test_a_pad_before_maximum_pooling(value: float | None, activation: str, absorbed: bool) -> None:
    b = GraphBuilder()
    value = None if value is None else max(value, float(np.finfo(np.float32).min))
    x = b.conv("before", b.input("x", 1, 8, 8, 2), 3, activation=activation)
    window = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2}
    pooled = b.op(
        "MAX_POOL_2D",
        "y",
        [b.pad("padded", x, (0, 1), (0, 1), value)],
        (1, 4, 4, 3),
        padding="VALID",
        fused_activation_function="NONE",
        **window,
    )
    graph = b.graph(pooled)
    cleaned = cleanup.clean(graph)
    assert (len(cleaned.ops) == 2) == absorbed
    assert_same(graph, cleaned)


@pytest.mark.parametrize("activation", ["RELU", "NONE"])
def test_minus_infinity_before_pooling_of_rectified_values_becomes_zero(activation: str) -> None:
    b = GraphBuilder()
    x = b.conv("before", b.input("x", 1, 8, 8, 2), 3, activation=activation)
    window = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2}
    padded = b.pad("padded", x, (1, 1), (1, 1), float(np.finfo(np.float32).min))
    graph = b.graph(b.op("MAX_POOL_2D", "y", [padded], (1, 4, 4, 3), padding="VALID", **window))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D", "PAD" if activation == "RELU" else "PADV2", "MAX_POOL_2D"]
    assert_same(graph, cleaned)


def test_a_pad_before_average_pooling_stays() -> None:
    b = GraphBuilder()
    x = b.pad("padded", b.conv("before", b.input("x", 1, 8, 8, 2), 3), (0, 1), (0, 1))
    window = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2}
    y = b.op("AVERAGE_POOL_2D", "y", [x], (1, 4, 4, 3), padding="VALID", **window)
    graph = b.graph(y)
    assert kinds(cleanup.clean(graph)) == ["CONV_2D", "PAD", "AVERAGE_POOL_2D"]


def test_operators_that_nothing_needs_disappear() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 6, 6, 3)
    b.conv("unused", x, 4)
    graph = b.graph(b.conv("used", x, 2))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["CONV_2D"] and "unused/weights" not in cleaned.tensors


def test_the_same_pad_for_two_readers_is_made_once() -> None:
    b = GraphBuilder()
    x = b.conv("before", b.input("x", 1, 8, 8, 2), 3)
    left = b.conv("left", b.pad("one", x, (1, 1), (1, 1)), 3, 3, 2, "VALID")
    right = b.conv("right", b.pad("two", x, (1, 1), (1, 1)), 4, 3, 2, "VALID")
    other = b.conv("other", b.pad("three", x, (2, 0), (1, 1)), 4, 3, 2, "VALID")
    graph = b.graph(left, right, other)
    cleaned = cleanup.clean(graph)
    assert sorted(kinds(cleaned)) == ["CONV_2D"] * 4 + ["PAD"] * 2
    assert_same(graph, cleaned)


def test_equal_operators_that_are_both_outputs_stay() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 6, 5, 3)
    graph = b.graph(b.op("ABS", "one", [x], (1, 6, 5, 3)), b.op("ABS", "two", [x], (1, 6, 5, 3)))
    assert_same(graph, cleanup.clean(graph))


ChannelFirst = Callable[[GraphBuilder, str], str]


def sliced(b: GraphBuilder, x: str) -> str:
    bounds = [b.constant(n, v, "int32") for n, v in (("b", [0, 1, 0, 0]), ("e", [1, 4, 6, 5]), ("s", [1, 1, 2, 1]))]
    options = {"begin_mask": 4, "end_mask": 8, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
    return b.op("STRIDED_SLICE", "sliced", [x, *bounds], (1, 3, 3, 5), **options)


def padded_channels(b: GraphBuilder, x: str) -> str:
    amounts = b.constant("amounts", [[0, 0], [1, 2], [0, 1], [2, 0]], "int32")
    return b.op("PAD", "padded", [x, amounts], (1, 7, 7, 7))


def halves(b: GraphBuilder, x: str) -> str:
    axis, shape = b.constant("axis", 1, "int32"), (1, 2, 6, 5)
    b.op("SPLIT", "half", [axis, x], shape, num_splits=2)
    split = b.ops.pop()
    b.tensors["rest"] = dataclasses.replace(b.tensors["half"], name="rest")
    b.ops.append(dataclasses.replace(split, outputs=("half", "rest")))
    return b.op("SUB", "difference", ["half", "rest"], shape, fused_activation_function="NONE")


def leaky(b: GraphBuilder, x: str) -> str:
    return b.op("PRELU", "leaky", [x, b.constant("alpha", np.arange(4.0).reshape(4, 1, 1))], (1, 4, 6, 5))


@pytest.mark.parametrize("layer", [sliced, padded_channels, halves, leaky])
def test_transposes_around_what_works_in_any_layout_melt_away(layer: ChannelFirst) -> None:
    b = GraphBuilder()
    x = layer(b, b.transpose("there", b.conv("conv", b.input("x", 1, 6, 5, 3), 4), *NCHW))
    graph = b.graph(b.conv("after", b.transpose("back", x, *NHWC), 2))
    cleaned = cleanup.clean(graph)
    assert "TRANSPOSE" not in kinds(cleaned)
    assert_same(graph, cleaned)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("shape", [(3, 6), (1, 5, 6)])
def test_a_product_with_a_constant_and_its_sum_become_a_dense_layer(adjoint: bool, shape: tuple[int, ...]) -> None:
    b = GraphBuilder()
    x = b.input("x", *shape)
    w = b.constant("w", b.rng.standard_normal((4, 6) if adjoint else (6, 4)))
    y = b.op("BATCH_MATMUL", "y", [x, w], (*shape[:-1], 4), adj_x=False, adj_y=adjoint)
    bias = b.constant("bias", b.rng.standard_normal(4))
    total = b.op("ADD", "total", [y, bias], (*shape[:-1], 4), fused_activation_function="RELU")
    graph = b.graph(total)
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["FULLY_CONNECTED"]
    assert_same(graph, cleaned, 1e-6)


def test_a_product_of_two_values_stays() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 2, 3, 4), b.input("y", 2, 4, 5)
    graph = b.graph(b.op("BATCH_MATMUL", "z", [x, y], (2, 3, 5), adj_x=False, adj_y=False))
    assert kinds(cleanup.clean(graph)) == ["BATCH_MATMUL"]


def test_a_constant_of_another_shape_than_the_bias_stays_outside() -> None:
    b = GraphBuilder()
    y = b.dense("y", b.input("x", 3, 6), 4)
    b.tensors[y] = dataclasses.replace(b.tensors[y], shape=(3, 4))
    other = b.constant("other", b.rng.standard_normal((3, 1)))
    graph = b.graph(b.op("ADD", "z", [y, other], (3, 4), fused_activation_function="NONE"))
    cleaned = cleanup.clean(graph)
    assert kinds(cleaned) == ["FULLY_CONNECTED", "ADD"]
    assert_same(graph, cleaned)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (6, 1), (1, 6, 1), (6, 7)])
def test_a_signal_meets_the_next_convolution_through_arithmetic(shape: tuple[int, ...]) -> None:
    """As a batch norm or a straight-through sign stands between convolutions over one dimension."""
    b = GraphBuilder()
    rng = np.random.default_rng(1)
    x = b.conv("conv", b.input("x", 1, 1, 7, 3), 6, 1)
    x = b.reshape("flat", b.transpose("turn", x, *NCHW), 1, 6, 7)
    x = b.op("SUB", "less", [b.constant("c", rng.normal(size=shape)), x], (1, 6, 7), fused_activation_function="NONE")
    x = b.op("SIGN", "sign", [x], (1, 6, 7))
    scale = b.constant("s", rng.uniform(1, 2, shape))
    x = b.op("MUL", "scaled", [x, scale], (1, 6, 7), fused_activation_function="NONE")
    x = b.transpose("back", b.reshape("high", x, 1, 6, 1, 7), *NHWC)
    graph = b.graph(b.conv("after", x, 2, 1))
    cleaned = cleanup.clean(graph)
    assert not {"TRANSPOSE", "RESHAPE"}.intersection(kinds(cleaned))
    assert_same(graph, cleaned, 1e-6)


def test_a_constant_that_widens_a_signal_stays_behind_the_turn() -> None:
    b = GraphBuilder()
    x = b.reshape("flat", b.transpose("turn", b.conv("conv", b.input("x", 1, 1, 1, 3), 6), *NCHW), 1, 6, 1)
    wide = b.constant("c", np.arange(5.0))
    graph = b.graph(b.op("ADD", "wide", [x, wide], (1, 6, 5), fused_activation_function="NONE"))
    assert_same(graph, cleanup.clean(graph), 1e-6)
