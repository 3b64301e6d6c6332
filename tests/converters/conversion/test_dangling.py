"""Tensors that onnx2tf reads and forgets to write."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.dangling import write_dangling
from multigraft.converters.conversion.interpreters import Runner, tapped
from multigraft.tflite.graph import Graph, Op, Tensor

SHAPE_LAST, SHAPE_FIRST = (1, 4, 5, 3), (1, 3, 4, 5)


def forgotten(bridge: str) -> Graph:
    """``x`` is read, and what would be its transpose is written under the name ``bridge``."""
    tensors = [Tensor("in", SHAPE_LAST), Tensor(bridge, SHAPE_LAST), Tensor("x", SHAPE_FIRST), Tensor("y", SHAPE_FIRST)]
    ops = [Op("ABS", ("in",), (bridge,)), Op("NEG", ("x",), ("y",))]
    return Graph.of("forgotten", ["in"], ["y"], ops, tensors)


def test_the_forgotten_tensor_is_the_transpose_of_the_renamed_one() -> None:
    graph = write_dangling(forgotten("x_nhwc_bridge"))
    value = np.random.default_rng(0).standard_normal(SHAPE_LAST).astype(np.float32)
    got = Runner(tapped(graph, ["y"]))({"in": value})["y"]
    np.testing.assert_array_equal(got, -np.abs(value).transpose(0, 3, 1, 2))


def test_what_has_no_counterpart_and_what_is_whole_stay_as_they_are() -> None:
    unknown = forgotten("other")
    assert write_dangling(unknown) is unknown
    whole = write_dangling(forgotten("x_nhwc_bridge"))
    assert write_dangling(whole) is whole


def test_a_tensor_that_is_named_after_another_reader_is_found_through_it() -> None:
    lost = forgotten("pooled_input_nhwc")
    assert write_dangling(lost, {"pooled": "elsewhere"}) is lost
    graph = write_dangling(lost, {"pooled": "x"})
    value = np.random.default_rng(0).standard_normal(SHAPE_LAST).astype(np.float32)
    got = Runner(tapped(graph, ["y"]))({"in": value})["y"]
    np.testing.assert_array_equal(got, -np.abs(value).transpose(0, 3, 1, 2))
