"""A camera frame becomes the same network input everywhere, and bad frames are refused with a remedy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError, InputError
from multigraft.tensors.preprocessing import (
    Color,
    Frame,
    Interpolation,
    PicturePreparer,
    Preprocessing,
    prepare,
    prepare_batch,
)
from multigraft.tensors.quantisation import dequantise, quantise
from multigraft.tensors.specs import TensorSpec

COLORS: tuple[Color, ...] = ("rgb", "bgr", "grey")


def frame_of(shape: tuple[int, ...], seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def plain(height: int, width: int, color: Color = "rgb", **changes: Any) -> Preprocessing:
    channels = 1 if color == "grey" else 3
    return Preprocessing(height, width, color, (0.0,) * channels, (1.0,) * channels, **changes)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Preprocessing, Frame, str, float, int]:
    color = draw(st.sampled_from(COLORS))
    channels = 1 if color == "grey" else 3
    uniform = draw(st.booleans())
    number = st.floats(-300, 300, width=32)
    scale = st.floats(2**-13, 10, width=32) | st.floats(-10, -(2**-13), width=32)
    mean = (draw(number),) * channels if uniform else tuple(draw(number) for _ in range(channels))
    scales = (draw(scale),) * channels if uniform else tuple(draw(scale) for _ in range(channels))
    size = st.integers(1, 12)
    spec = Preprocessing(
        draw(size), draw(size), color, mean, scales,
        draw(st.sampled_from(("stretch", "fit", "fill", "corner", "line"))),
        draw(st.sampled_from(("bilinear", "nearest"))),
        draw(st.none() | st.integers(0, 255)),
    )  # fmt: skip
    same = draw(st.booleans())
    height, width = (spec.height, spec.width) if same else (draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    shape = (height, width) if draw(st.booleans()) else (height, width, 3)
    frame = frame_of(shape, draw(st.integers(0, 2**16)))
    limits = draw(st.sampled_from((("int8", -128, 127), ("uint8", 0, 255))))
    scale_q = draw(st.floats(2**-13, 20, width=32) | st.just(float(np.float32(1 / 255))))
    return spec, frame, limits[0], scale_q, draw(st.integers(limits[1], limits[2]))


@given(cases())
@settings(deadline=None, derandomize=True, max_examples=300)
def test_device_and_workstation_see_the_same_values(case: tuple[Preprocessing, Frame, str, float, int]) -> None:
    spec, frame, dtype, scale, zero_point = case
    shape = (1, spec.height, spec.width, spec.channels)
    real = prepare(frame, spec)
    stored = TensorSpec("image", shape, dtype, scale, zero_point)
    out = np.full(shape, 77, dtype)
    preparer = PicturePreparer(spec, stored)
    preparer.fill(frame, out)
    np.testing.assert_array_equal(out[0], quantise(real, stored))
    again = np.zeros(shape, dtype)
    preparer.fill(frame, again)
    np.testing.assert_array_equal(again, out)
    floats = np.full(shape, np.nan, np.float32)
    PicturePreparer(spec, TensorSpec("image", shape, "float32")).fill(frame, floats)
    np.testing.assert_array_equal(floats[0], real)
    np.testing.assert_array_equal(prepare_batch([frame], spec)[0], real.transpose(2, 0, 1))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 24), st.integers(1, 24), st.integers(0, 99))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_bilinear_follows_the_definition_to_half_a_pixel(
    height: int, width: int, rows: int, columns: int, seed: int
) -> None:
    frame = frame_of((rows, columns), seed)
    y, x = (np.clip((np.arange(t) + 0.5) * s / t - 0.5, 0, s - 1) for s, t in ((rows, height), (columns, width)))
    exact = np.array([[_sample(frame, a, b) for b in x] for a in y])
    result = prepare(frame, plain(height, width, "grey"))[..., 0]
    # Half a unit of rounding, and 255 times the 11-bit rounding of two weights.
    assert np.abs(result - exact).max() <= 0.5 + 255 / 2048


def _sample(frame: Frame, y: float, x: float) -> float:
    top, left = int(y), int(x)
    bottom, right = min(top + 1, frame.shape[0] - 1), min(left + 1, frame.shape[1] - 1)
    dy, dx = y - top, x - left
    upper = frame[top, left] * (1 - dx) + frame[top, right] * dx
    return float(upper * (1 - dy) + (frame[bottom, left] * (1 - dx) + frame[bottom, right] * dx) * dy)


def test_bilinear_is_within_one_unit_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    for source, target in (((48, 64), (32, 32)), ((20, 30), (96, 50)), ((33, 17), (33, 40))):
        frame = frame_of((*source, 3))
        ours = prepare(frame, plain(*target))
        assert np.abs(ours - cv2.resize(frame, target[::-1])).max() <= 1


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    frame = np.arange(8, dtype=np.uint8).reshape(2, 4)
    assert prepare(frame, plain(1, 2, "grey", interpolation="nearest")).ravel().tolist() == [5, 7]
    grown = prepare(frame, plain(4, 8, "grey", interpolation="nearest"))[..., 0]
    np.testing.assert_array_equal(grown, frame.repeat(2, 0).repeat(2, 1))


def test_grey_is_the_luma_that_pillow_computes() -> None:
    frame = frame_of((40, 50, 3))
    expected = np.asarray(Image.fromarray(frame).convert("L"))
    np.testing.assert_array_equal(prepare(frame, plain(40, 50, "grey"))[..., 0], expected)


def test_channel_order() -> None:
    frame = frame_of((6, 5, 3))
    np.testing.assert_array_equal(prepare(frame, plain(6, 5, "bgr")), frame[..., ::-1])
    resized = prepare(frame, plain(9, 4, "rgb"))
    np.testing.assert_array_equal(prepare(frame, plain(9, 4, "bgr")), resized[..., ::-1])


def test_a_grey_frame_fills_all_channels_of_a_color_network() -> None:
    frame = frame_of((6, 5))
    spec = dataclasses.replace(plain(6, 5), mean=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(prepare(frame, spec), frame[..., None] - np.array([1, 2, 3], np.float32))


def test_fit_keeps_the_aspect_ratio_and_pads_with_the_mean() -> None:
    frame = np.full((10, 20), 200, np.uint8)
    spec = Preprocessing(8, 8, "grey", (127.5,), (1 / 127.5,), resize="fit")
    result = prepare(frame, spec)[..., 0]
    assert (result[:2] == 0).all() and (result[6:] == 0).all()
    assert (result[2:6] == np.float32(72.5) * np.float32(1 / 127.5)).all()
    stored = TensorSpec("image", (1, 8, 8, 1), "int8", 1 / 128, 5)
    out = np.full((1, 8, 8, 1), -3, np.int8)
    PicturePreparer(spec, stored).fill(frame, out)
    assert (out[0, :2] == 5).all() and (out[0, 6:] == 5).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("color", COLORS)
def test_a_pixel_to_pad_with_is_a_pixel_like_those_of_the_frame(color: Color, dtype: str) -> None:
    channels = 1 if color == "grey" else 3
    spec = Preprocessing(8, 8, color, (10.0, 20.0, 30.0)[:channels], (0.5, 0.25, 1.0)[:channels], "fit", pad=114)
    tensor = (
        TensorSpec("x", (1, 8, 8, channels), dtype, 0.5, 3)
        if dtype == "int8"
        else TensorSpec("x", (1, 8, 8, channels), dtype)
    )
    frame = frame_of((4, 8, 3))
    whole = np.full((8, 8, 3), 114, np.uint8)
    whole[2:6] = frame
    padded, given_whole = (np.empty(tensor.shape, tensor.dtype) for _ in range(2))
    PicturePreparer(spec, tensor).fill(frame, padded)
    PicturePreparer(spec, tensor).fill(whole, given_whole)
    np.testing.assert_array_equal(padded, given_whole)
    assert not spec.pads and dataclasses.replace(spec, pad=None).pads


@given(st.integers(3, 90), st.integers(3, 90), st.integers(4, 40), st.sampled_from(("bilinear", "nearest")))
def test_corner_keeps_the_scale_of_a_frame_that_is_padded_before(
    height: int, width: int, size: int, interpolation: Interpolation
) -> None:
    frame = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    longest = max(height, width)
    padded = np.zeros((longest, longest, 3), np.uint8)
    padded[:height, :width] = frame
    corner = dataclasses.replace(plain(size, size), resize="corner", pad=0, interpolation=interpolation)
    wanted = prepare(padded, dataclasses.replace(corner, resize="stretch"))
    # The pixel across the frame's border sees it repeated here, and padding there.
    rows, columns = (max(0, side * size // longest - 1) for side in (height, width))
    np.testing.assert_array_equal(prepare(frame, corner)[:rows, :columns], wanted[:rows, :columns])
    placed = Placement.of_frame(corner, frame.shape)
    assert placed.matrix.tolist() == [[longest / size, 0, 0], [0, longest / size, 0]]


def test_corner_is_fit_with_all_padding_to_the_right_or_below() -> None:
    frame = frame_of((10, 20, 3))
    spec = dataclasses.replace(plain(8, 8), mean=(9.0, 8.0, 7.0))
    corner, fit = (prepare(frame, dataclasses.replace(spec, resize=rule)) for rule in ("corner", "fit"))
    np.testing.assert_array_equal(corner[:4], fit[2:6])
    assert (corner[4:] == 0).all()
    tall = prepare(frame.transpose(1, 0, 2), dataclasses.replace(spec, resize="corner"))
    np.testing.assert_array_equal(tall[:, :4], fit[2:6].transpose(1, 0, 2))
    assert (tall[:, 4:] == 0).all()


def test_a_line_of_text_is_as_high_as_the_input_and_padded_at_its_right_or_squeezed() -> None:
    spec = dataclasses.replace(plain(8, 20), mean=(9.0, 8.0, 7.0), resize="line")
    short = prepare(frame_of((16, 29, 3)), spec)
    inner = dataclasses.replace(spec, width=15, resize="stretch")
    np.testing.assert_array_equal(short[:, :15], prepare(frame_of((16, 29, 3)), inner))
    assert (short[:, 15:] == 0).all()
    for size in ((16, 90, 3), (16, 40, 3)):
        stretched = dataclasses.replace(spec, resize="stretch")
        np.testing.assert_array_equal(prepare(frame_of(size), spec), prepare(frame_of(size), stretched))


def test_fill_crops_the_centre() -> None:
    frame = np.zeros((10, 30), np.uint8)
    frame[:, 10:20] = frame_of((10, 10))
    np.testing.assert_array_equal(prepare(frame, plain(10, 10, "grey", resize="fill"))[..., 0], frame[:, 10:20])
    tall = np.ascontiguousarray(frame.T)
    np.testing.assert_array_equal(prepare(tall, plain(10, 10, "grey", resize="fill"))[..., 0], tall[10:20])


def test_frames_need_not_be_contiguous() -> None:
    whole = frame_of((20, 20, 3))
    for spec in (plain(10, 10), plain(7, 9), plain(10, 10, "grey"), plain(10, 10, "bgr")):
        view = whole[::2, ::2]
        np.testing.assert_array_equal(prepare(view, spec), prepare(view.copy(), spec))


def test_more_frame_sizes_than_are_kept() -> None:
    spec = plain(5, 5, "grey")
    tensor = TensorSpec("image", (1, 5, 5, 1), "float32")
    preparer, out = PicturePreparer(spec, tensor), np.empty((1, 5, 5, 1), np.float32)
    for size in [*range(1, 40), 1]:
        preparer.fill(np.full((size, size + 1), size, np.uint8), out)
        assert (out == size).all()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((4, 4), np.int8), "int8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((4, 4, 1), np.uint8), r"\(4, 4, 1\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        ([[1, 2], [3, 4]], "list"),
        (None, "NoneType"),
    ],
)
def test_bad_frames_are_refused_with_a_remedy(frame: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        prepare(frame, plain(4, 4))
    assert caught.value.remedy
    with pytest.raises(InputError, match="frame 1"):
        prepare_batch([np.zeros((4, 4), np.uint8), frame], plain(4, 4))


def test_a_bad_frame_of_a_known_shape_is_refused_too() -> None:
    preparer = PicturePreparer(plain(4, 4, "grey"), TensorSpec("image", (1, 4, 4, 1), "float32"))
    out = np.empty((1, 4, 4, 1), np.float32)
    preparer.fill(np.zeros((4, 4), np.uint8), out)
    with pytest.raises(InputError):
        preparer.fill(np.zeros((4, 4), np.int16), out)


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0}, {"width": -1}, {"mean": (0.0,)}, {"scale": (1.0, 1.0)}, {"scale": (1.0, 0.0, 1.0)},
        {"mean": (0.0, float("nan"), 0.0)}, {"color": "cmyk"}, {"resize": "squash"}, {"interpolation": "cubic"},
    ],
)  # fmt: skip
def test_contradictory_preprocessing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Preprocessing(**{"height": 4, "width": 4, **changes})
    assert caught.value.remedy


def test_a_tensor_that_does_not_fit_is_refused() -> None:
    for tensor in (TensorSpec("x", (1, 4, 5, 3), "float32"), TensorSpec("x", (1, 4, 4, 3), "int32", 1.0)):
        with pytest.raises(ConfigurationError):
            PicturePreparer(plain(4, 4), tensor)


def test_quantisation_rounds_half_away_from_zero_and_saturates() -> None:
    spec = TensorSpec("x", (1,), "int8", 0.5, 3)
    values = np.array([0.25, -0.25, 0.75, -0.75, 1e9, -1e9, 0.2499], np.float32)
    assert quantise(values, spec).tolist() == [4, 2, 5, 1, 127, -128, 3]


@settings(derandomize=True)
@given(st.floats(2**-20, 100, width=32), st.integers(-128, 127))
def test_stored_values_survive_a_round_trip(scale: float, zero_point: int) -> None:
    spec = TensorSpec("x", (256,), "int8", scale, zero_point)
    stored = np.arange(-128, 128, dtype=np.int8)
    np.testing.assert_array_equal(quantise(dequantise(stored, spec), spec), stored)


def test_an_integer_tensor_without_scale_is_refused() -> None:
    with pytest.raises(InputError, match="scale"):
        quantise(np.zeros(3), TensorSpec("x", (3,), "int8"))
