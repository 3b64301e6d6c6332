"""Linear layers as rows times a matrix: against loops, with nothing equal in both directions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.refit.linear_layer import (
    MIN_GROUP_ROWS,
    MIN_ROWS,
    ROWS_PER_INPUT,
    Dense,
    Geometry,
    LinearLayer,
    layer_of,
    positions_used,
)

Array = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]


def values(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def positions(sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, sizes))


def spot(channel: int, place: tuple[int, ...]) -> Any:
    """Index of one channel and position, for all frames."""
    return (slice(None), channel, *place)


def same_pads(sizes: tuple[int, ...], geometry: Geometry, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """ONNX: total = (ceil(n / s) - 1) * s + effective kernel - n; the odd one behind for UPPER, before for LOWER."""
    before, after = [], []
    for n, s, k, d in zip(sizes, geometry.strides, kernel, geometry.dilations, strict=True):
        total = max((int(np.ceil(n / s)) - 1) * s + (k - 1) * d + 1 - n, 0)
        pair = [total // 2, total - total // 2]
        before.append(pair[geometry.auto_pad == "SAME_LOWER"])
        after.append(pair[geometry.auto_pad == "SAME_UPPER"])
    return (*before, *after)


def convolved(x: Array, weight: Array, bias: Array | None, g: Geometry) -> Real:
    """ONNX Conv, an output value at a time."""
    kernel, rank = weight.shape[2:], weight.ndim - 2
    pads = g.pads if g.auto_pad == "NOTSET" else same_pads(x.shape[2:], g, kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, g.dilations, strict=True)]
    sizes = tuple((x.shape[2 + i] + pads[i] + pads[rank + i] - spans[i]) // g.strides[i] + 1 for i in range(rank))
    outputs, inputs = weight.shape[:2]
    out = np.zeros((len(x), outputs, *sizes))
    for o in range(outputs):
        group = o // (outputs // g.groups)
        for place in positions(sizes):
            total = np.zeros(len(x)) if bias is None else np.full(len(x), float(bias[o]))
            for tap in positions(kernel):
                at = tuple(
                    p * s + t * d - b for p, s, t, d, b in zip(place, g.strides, tap, g.dilations, pads, strict=False)
                )
                if all(0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
                    for i in range(inputs):
                        total += weight[(o, i, *tap)] * x[spot(group * inputs + i, at)]
            out[spot(o, place)] = total
    return out


def transposed(x: Array, weight: Array, bias: Array | None, g: Geometry) -> Real:
    """ONNX ConvTranspose: every input value spreads over the outputs."""
    kernel, rank = weight.shape[2:], weight.ndim - 2
    sizes = tuple(
        (x.shape[2 + i] - 1) * g.strides[i] + g.output_padding[i] + (kernel[i] - 1) * g.dilations[i] + 1
        - g.pads[i] - g.pads[rank + i]
        for i in range(rank)
    )  # fmt: skip
    per_group = weight.shape[1]
    out = np.zeros((len(x), per_group * g.groups, *sizes))
    for c in range(x.shape[1]):
        group = c // (x.shape[1] // g.groups)
        for place in positions(x.shape[2:]):
            for tap in positions(kernel):
                at = tuple(
                    p * s + t * d - b for p, s, t, d, b in zip(place, g.strides, tap, g.dilations, g.pads, strict=False)
                )
                if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                    for o in range(per_group):
                        out[spot(group * per_group + o, at)] += x[spot(c, place)] * weight[(c, o, *tap)]
    return out if bias is None else out + bias.reshape(-1, *[1] * rank)


def check(layer: LinearLayer, x: Array, out: Real) -> None:
    """Design times weights plus intercept is the output, for all positions and for picked ones."""
    count = int(np.prod(out.shape[2:])) if out.ndim > 2 else 1
    picked = np.random.default_rng(5).integers(0, count, (len(x), 3))
    for chosen in (None, picked):
        design, rows = layer.design(x, chosen), layer.rows(out.astype(np.float32), chosen)
        assert design.dtype == np.float32 and design.flags.c_contiguous
        assert design.shape == (len(layer.weight), rows.shape[1], layer.weight.shape[1])
        assert rows.shape[1] == len(x) * (count if chosen is None else 3)
        np.testing.assert_allclose(design @ layer.weight + layer.intercept[:, None, :], rows, rtol=1e-5, atol=1e-5)


def check_constants(layer: LinearLayer, constants: dict[int, Array]) -> None:
    """The layer's own weights go back to the node's constants, in float32."""
    assert layer.weight.dtype == layer.intercept.dtype == np.float64
    back = layer.initializers(layer.weight, layer.intercept)
    assert back.keys() == constants.keys()
    for position, constant in constants.items():
        assert back[position].dtype == np.float32 and back[position].flags.c_contiguous
        assert back[position].shape == constant.shape
        np.testing.assert_allclose(back[position], constant, rtol=1e-6, atol=1e-7)


CONVOLUTIONS = {
    "plain": Geometry("convolution", (4, 3, 3, 2)),
    "strided": Geometry("convolution", (4, 3, 3, 2), strides=(2, 3)),
    "dilated": Geometry("convolution", (4, 3, 2, 3), dilations=(3, 2)),
    "padded": Geometry("convolution", (4, 3, 3, 2), pads=(1, 0, 2, 3)),
    "padded behind": Geometry("convolution", (4, 3, 3, 2), pads=(0, 0, 1, 0)),
    "all": Geometry("convolution", (4, 3, 3, 2), strides=(2, 1), dilations=(1, 2), pads=(2, 1, 0, 2)),
    "grouped": Geometry("convolution", (6, 2, 3, 2), groups=3, strides=(1, 2)),
    "depthwise": Geometry("convolution", (8, 1, 2, 3), groups=4, pads=(1, 1, 0, 1)),
    "same upper": Geometry("convolution", (4, 3, 4, 3), strides=(2, 1), auto_pad="SAME_UPPER"),
    "same lower": Geometry("convolution", (4, 3, 4, 2), strides=(3, 1), dilations=(1, 3), auto_pad="SAME_LOWER"),
    "same strided": Geometry("convolution", (4, 3, 1, 2), strides=(2, 3), auto_pad="SAME_UPPER"),
    "same lower flat": Geometry("convolution", (4, 3, 1, 2), auto_pad="SAME_LOWER"),
    "one dimension": Geometry("convolution", (4, 3, 3), strides=(2,), dilations=(2,), pads=(1, 2)),
}


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, has_bias: bool) -> None:
    geometry = CONVOLUTIONS[name]
    weight = values(*geometry.shape)
    bias = values(geometry.shape[0], seed=1) if has_bias else None
    x = values(2, geometry.shape[1] * geometry.groups, 9, *[7] * (weight.ndim - 3))
    layer = layer_of(geometry, weight, bias)
    assert layer.geometry is geometry
    assert layer.weight.shape[::2] == (geometry.groups, geometry.shape[0] // geometry.groups)
    check(layer, x, convolved(x, weight, bias, geometry))
    check_constants(layer, {1: weight, 2: np.zeros(len(weight), np.float32) if bias is None else bias})


TRANSPOSED = {
    "plain": Geometry("transposed", (3, 4, 3, 2)),
    "strided": Geometry("transposed", (3, 4, 3, 2), strides=(2, 3)),
    "padded": Geometry("transposed", (3, 4, 4, 3), strides=(2, 1), pads=(1, 0, 2, 1)),
    "cropped": Geometry("transposed", (3, 4, 2, 1), strides=(3, 2), pads=(2, 1, 3, 2)),
    "odd": Geometry("transposed", (3, 4, 2, 3), strides=(2, 3), output_padding=(1, 2), pads=(0, 1, 1, 0)),
    "dilated": Geometry("transposed", (3, 4, 2, 3), dilations=(3, 2), strides=(1, 2)),
    "grouped": Geometry("transposed", (6, 2, 3, 2), groups=3, strides=(2, 1)),
    "one dimension": Geometry("transposed", (3, 4, 3), strides=(2,), dilations=(2,), pads=(1, 2), output_padding=(1,)),
}


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolution(name: str, has_bias: bool) -> None:
    geometry = TRANSPOSED[name]
    weight = values(*geometry.shape)
    outputs = geometry.shape[1] * geometry.groups
    bias = values(outputs, seed=1) if has_bias else None
    x = values(2, geometry.shape[0], 5, *[4] * (weight.ndim - 3))
    layer = layer_of(geometry, weight, bias)
    assert layer.geometry is geometry
    assert layer.weight.shape[::2] == (geometry.groups, geometry.shape[1])
    check(layer, x, transposed(x, weight, bias, geometry))
    check_constants(layer, {1: weight, 2: np.zeros(outputs, np.float32) if bias is None else bias})


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5)])
@pytest.mark.parametrize("is_transposed", [True, False])
@pytest.mark.parametrize("has_bias", [True, False])
def test_dense(shape: tuple[int, ...], is_transposed: bool, has_bias: bool) -> None:
    weight = values(*((6, 5) if is_transposed else (5, 6)))
    bias = values(6, seed=1) if has_bias else None
    geometry = Geometry("dense", weight.shape, transposed=is_transposed, alpha=0.5, beta=4.0)
    layer = layer_of(geometry, weight, bias)
    x = values(*shape)
    out = 0.5 * x @ (weight.T if is_transposed else weight) + (0 if bias is None else 4 * bias)
    for picked in (None, np.array([[0, 2], [1, 1], [3, 0]]) if len(shape) == 3 else np.zeros((3, 2), np.int64)):
        design, rows = layer.design(x, picked), layer.rows(out, picked)
        assert design.shape[:2] == rows.shape[:2] == (1, x.size // 5 if picked is None else 6)
        np.testing.assert_allclose(design @ layer.weight + layer.intercept[:, None], rows, rtol=1e-5, atol=1e-5)
    check_constants(layer, {1: weight, 2: np.zeros(6, np.float32) if bias is None else bias})


def test_a_dense_layer_without_a_bias_input_gives_back_its_weights_alone() -> None:
    layer = layer_of(Geometry("dense", (5, 6), takes_bias=False), values(5, 6), None)
    check_constants(layer, {1: values(5, 6)})


def test_a_bias_is_spread_over_the_outputs_and_one_times_nothing_is_solved_as_it_is() -> None:
    layer = layer_of(Geometry("dense", (5, 6), beta=0.0), values(5, 6), np.array([3.0], np.float32))
    assert isinstance(layer, Dense)
    np.testing.assert_array_equal(layer.intercept, np.zeros((1, 6)))
    np.testing.assert_array_equal(layer.initializers(layer.weight, np.full((1, 6), 2.5))[2], np.full(6, 2.5))
    spread = layer_of(Geometry("dense", (5, 6), beta=2.0), values(5, 6), np.array([3.0], np.float32))
    np.testing.assert_array_equal(spread.intercept, np.full((1, 6), 6.0))
    row = layer_of(Geometry("dense", (5, 6)), values(5, 6), values(1, 6))
    np.testing.assert_array_equal(row.intercept, values(1, 6))


@pytest.mark.parametrize("has_offset", [True, False])
def test_batch_norm(has_offset: bool) -> None:
    factor, offset = values(4), values(4, seed=1) if has_offset else None
    geometry = Geometry("scale", (4,), epsilon=0.25)
    layer = layer_of(geometry, factor, offset)
    assert layer.geometry is geometry
    x = values(2, 4, 3, 5)
    shift = np.zeros(4, np.float32) if offset is None else offset
    check(layer, x, x * factor[:, None, None].astype(np.float64) + shift[:, None, None])
    assert layer.weight.shape == (4, 1, 1)
    # A mean of 0 and a variance that is 1 with epsilon: the node computes the factor and the offset alone.
    check_constants(layer, {1: factor, 2: shift, 3: np.zeros(4, np.float32), 4: np.full(4, 0.75, np.float32)})


def test_solved_values_come_in_any_precision_and_leave_as_float32() -> None:
    for geometry, weight in (
        (CONVOLUTIONS["grouped"], values(6, 2, 3, 2)),
        (TRANSPOSED["grouped"], values(6, 2, 3, 2)),
        (Geometry("dense", (5, 6)), values(5, 6)),
    ):
        layer = layer_of(geometry, weight, None)
        back = layer.initializers(np.float64(2) * layer.weight, layer.intercept + 1.5)
        np.testing.assert_allclose(back[1], 2 * weight, rtol=1e-6)
        assert back[1].shape == weight.shape and back[2].tolist() == [1.5] * layer.intercept.size
        assert {a.dtype for a in back.values()} == {np.dtype(np.float32)}


def sized(groups: int, inputs: int) -> LinearLayer:
    return layer_of(Geometry("convolution", (groups, inputs, 1, 1), groups=groups), values(groups, inputs, 1, 1), None)


@pytest.mark.parametrize(
    ("groups", "inputs", "positions", "frames", "used"),
    [
        (1, 1, 10**6, 100, 200),
        (1, 1, 10**6, 99, 203),
        (1, 1, 199, 100, 199),
        (1, 1, 200, 100, 200),
        (2, 1, 10**6, 100, 40),
        (1, 1000, 10**6, 100, 480),
        (2, 100, 10**6, 100, 48),
        (2, 83, 10**6, 100, 40),
        (1, 1, 10**6, 10**6, 1),
    ],
)
def test_a_layer_takes_as_many_positions_of_a_frame_as_give_enough_rows(
    groups: int, inputs: int, positions: int, frames: int, used: int
) -> None:
    assert positions_used(sized(groups, inputs), positions, frames) == used
    assert (MIN_ROWS, MIN_GROUP_ROWS, ROWS_PER_INPUT) == (20_000, 4_000, 48)


def test_what_a_geometry_leaves_out_is_what_onnx_takes() -> None:
    plain: dict[str, Any] = vars(Geometry("dense", (2, 3)))
    assert plain == {
        "kind": "dense", "shape": (2, 3), "groups": 1, "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0),
        "auto_pad": "NOTSET", "output_padding": (0, 0), "transposed": False, "alpha": 1.0, "beta": 1.0, "epsilon": 0.0,
        "takes_bias": True,
    }  # fmt: skip
