"""Every rewrite against onnxruntime: the operator is gone, and what is there instead computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.rewrite import rewrite
from tests.converters.conversion.rewrites.rewritten import assert_same, node_model, operators
from tests.converters.onnx_builder import OnnxBuilder

RNG = np.random.default_rng(11)
WINDOW: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1]}


def weights(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


GONE: dict[str, onnx.ModelProto] = {
    "Gelu": node_model("Gelu", [1, 3, 4], approximate="tanh"),
    "Mod": node_model("Mod", [2, 9], [weights(2, 9)], fmod=1),
    "Sum": node_model("Sum", [1, 3, 4]),
    "Mean": node_model("Mean", [1, 3, 4]),
    "Max": node_model("Max", [1, 3, 4]),
    "Min": node_model("Min", [1, 3, 4]),
    "Hardmax": node_model("Hardmax", [2, 5, 3, 4], axis=1),
    "LpNormalization": node_model("LpNormalization", [2, 5, 3], axis=1, p=1),
    "LpPool": node_model("LpPool", [1, 2, 8, 9], p=3, pads=[1, 0, 0, 1], opset=18, **WINDOW),
}


@pytest.mark.parametrize("kind", GONE)
def test_an_operator_is_said_in_others(kind: str) -> None:
    assert kind not in operators(assert_same(GONE[kind]))


FAR = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("low", "high", "left"),
    [
        (-np.inf, np.inf, {"Identity"}), (0, FAR, {"Relu"}), (-FAR, 1, {"Min"}), (0.5, np.inf, {"Max"}),
        (-1e30, None, {"Identity"}), (None, FAR, {"Identity"}), (-1, 1, {"Clip"}),
    ],
)  # fmt: skip
def test_bounds_that_nothing_reaches_go(low: float | None, high: float | None, left: set[str]) -> None:
    bounds = [None if b is None else np.float32(b) for b in (low, high)]
    assert operators(assert_same(node_model("Clip", [1, 3, 4], bounds))) == left


@pytest.mark.parametrize(("kind", "far"), [("Max", -np.inf), ("Max", -FAR), ("Min", np.inf), ("Min", 1e30)])
def test_constants_that_never_win_go(kind: str, far: float) -> None:
    assert operators(assert_same(node_model(kind, [1, 3, 4], [np.float32(far)]))) == {"Identity"}
    widened = np.full((2, 3, 4), far, np.float32)
    assert operators(assert_same(node_model(kind, [1, 3, 4], [widened]))) == {kind}


def test_elu_keeps_no_alpha() -> None:
    new = assert_same(node_model("Elu", [1, 3, 4], alpha=0.3))
    assert all(a.name != "alpha" for n in new.graph.node for a in n.attribute)


@pytest.mark.parametrize("p", [1, 2])
def test_the_norm_of_zeros_gives_zeros(p: int) -> None:
    new = rewrite(node_model("LpNormalization", [2, 4], axis=1, p=p))
    x = np.array([[0, 0, 0, 0], [1, -1, 2, 0]], np.float32)
    y = OnnxRunner(new, ["y"])({"x": x})["y"]
    np.testing.assert_array_equal(y[0], np.zeros(4))
    np.testing.assert_allclose(np.linalg.norm(y[1], p), 1, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_hardmax_takes_the_first_of_equal_values(axis: int) -> None:
    x = RNG.integers(0, 2, (3, 4, 5)).astype(np.float32)
    assert_same(node_model("Hardmax", [3, 4, 5], axis=axis), x)


@pytest.mark.parametrize("kind", ["Elu", "Gelu", "Mod", "Split", "Slice", "Resize", "MaxPool", "Gather", "Conv"])
def test_what_is_right_already_stays(kind: str) -> None:
    models = {
        "Elu": node_model("Elu", [1, 3, 4]),
        "Gelu": node_model("Gelu", [1, 3, 4]),
        "Mod": node_model("Sub", [2, 9], [weights(2, 9)]),
        "Split": node_model("Split", [1, 6, 4], [[2, 4]], outputs=("y", "z"), axis=1),
        "Slice": node_model("Slice", [1, 6, 4], [[1], [5], [1], [2]]),
        "Resize": node_model(
            "Resize",
            [1, 2, 4, 4],
            [None, None, [1, 2, 8, 8]],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        "MaxPool": node_model("MaxPool", [1, 2, 8, 8], pads=[1, 1, 0, 0], **WINDOW),
        "Gather": node_model("Gather", [1, 6, 4], [[0, 3]], axis=1),
        "Conv": node_model("Conv", [1, 2, 7, 7], [weights(3, 2, 3, 3)], auto_pad="SAME_UPPER"),
    }
    model = models[kind]
    assert [n.SerializeToString() for n in rewrite(model).graph.node] == [
        n.SerializeToString() for n in model.graph.node
    ]


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_odd_element_of_padding_goes_first(kind: str, size: int, stride: int) -> None:
    shape = [1, 2, size, size + 1]
    given: dict[str, Any] = {"auto_pad": "SAME_LOWER", "strides": [stride, 1]}
    if kind in ("Conv", "ConvTranspose"):
        channels = (3, 2) if kind == "Conv" else (2, 3)
        model = node_model(kind, shape, [weights(*channels, 3, 4)], **given)
    else:
        model = node_model(kind, shape, kernel_shape=[3, 4], opset=18, **given)
    new = assert_same(model)
    assert all(a.name != "auto_pad" for n in new.graph.node for a in n.attribute)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 2, 1]])
@pytest.mark.parametrize("include", [0, 1])
def test_dilated_pooling_becomes_slices(kind: str, ceil_mode: int, pads: list[int], include: int) -> None:
    given: dict[str, Any] = {
        "dilations": [2, 3],
        "kernel_shape": [3, 2],
        "strides": [2, 1],
        "ceil_mode": ceil_mode,
        "pads": pads,
    }
    if kind == "AveragePool":
        given["count_include_pad"] = include
    assert kind not in operators(assert_same(node_model(kind, [1, 2, 11, 10], **given)))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([5], [0], [1], [-2]),
        ([-1], [-(2**31)], [2], [-1]),
        ([4, 0], [-20, 3], [1, 2], [-1, 2]),
        ([-2], [-5], [1], [-1]),
    ],
)
def test_backward_slices_gather(starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
    new = assert_same(node_model("Slice", [2, 6, 4], [np.array(v) for v in (starts, ends, axes, steps)]))
    assert "Slice" not in operators(new)


def test_uneven_splits_name_their_sizes() -> None:
    new = assert_same(node_model("Split", [7, 4], outputs=("a", "b", "c"), num_outputs=3))
    assert all(a.name != "num_outputs" for n in new.graph.node for a in n.attribute)


def test_negative_indices_count_from_the_front() -> None:
    indices = np.array([[-1, 0, 1, -3], [2, -2, 0, 0]])
    new = assert_same(node_model("GatherElements", [3, 4], [indices]))
    assert all((onnx.numpy_helper.to_array(i) >= 0).all() for i in new.graph.initializer)
    assert_same(node_model("GatherND", [3, 4], [np.array([[-1, 2], [0, -4]])]))


RESIZES = [
    (mode, coordinates, size)
    for mode in ("nearest", "linear", "cubic")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
    for size in ((8, 10), (13, 6), (3, 3), (1, 20))
]


@pytest.mark.parametrize(("mode", "coordinates", "size"), RESIZES)
def test_resizes_of_all_kinds(mode: str, coordinates: str, size: tuple[int, int]) -> None:
    target = np.array([1, 2, *size])
    assert_same(
        node_model("Resize", [1, 2, 4, 5], [None, None, target], mode=mode, coordinate_transformation_mode=coordinates)
    )


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("scale", [0.6, 1.5, 2.0, 3.0])
def test_nearest_resizes_by_scale(rounding: str, scale: float) -> None:
    scales = np.array([1, 1, scale, scale], np.float32)
    assert_same(node_model("Resize", [1, 2, 7, 5], [None, scales], mode="nearest", nearest_mode=rounding))


@pytest.mark.parametrize("scale", [0.6, 1.7])
@pytest.mark.parametrize("antialias", [0, 1])
def test_linear_resizes_by_a_scale_that_does_not_divide(scale: float, antialias: int) -> None:
    scales = np.array([1, 1, scale, scale], np.float32)
    assert_same(node_model("Resize", [1, 2, 7, 5], [None, scales], mode="linear", antialias=antialias))


def test_constants_and_names_of_others_are_left_alone() -> None:
    b = OnnxBuilder()
    x = b.conv("y/Relu", b.input("x", 2, 6, 6), 4)  # a name that the rewrite would like to use
    model = b.model(b.conv("last", b.add("Elu", "y", x, alpha=0.5), 2))
    new = assert_same(model)
    kept = {i.name for i in new.graph.initializer}
    assert {i.name for i in model.graph.initializer} <= kept
