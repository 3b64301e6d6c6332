"""How a camera frame becomes a network input; the same code on the workstation and on the device.

A frame is uint8, height x width x channels, RGB or grey. The network input is ``(pixel - mean) * scale`` per channel,
in float32, where ``pixel`` is a whole number 0..255: what is left after colour conversion and then resizing, both of
which round to whole pixels (:mod:`multigraft.tensors.resizing`). So a float32 input takes 256 values per channel at
most, and for an int8 or uint8 input tensor normalisation and quantisation (:mod:`multigraft.tensors.quantisation`) are
one table of 256 entries per channel: what calibration saw on the workstation is what the device computes, bit for bit.
"""

from __future__ import annotations

import functools
import math
import threading
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from multigraft.errors import ConfigurationError, InputError
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.resizing import Pixels, Resizer
from multigraft.tensors.specs import TensorSpec

Color = Literal["rgb", "bgr", "grey"]
Resize = Literal["stretch", "fit", "fill", "corner", "line"]
Interpolation = Literal["bilinear", "nearest"]

Frame = npt.NDArray[np.uint8]
"""One camera frame: uint8, height x width (grey), or height x width x 3 (RGB)."""

_SHAPES_KEPT = 16
"""Shapes of frames whose geometry is kept; a folder of photographs may hold a different size per file."""
_AT_ONCE = 1 << 13
"""Values looked up in one call: numpy makes an index of 8 bytes of each, which would stay in memory between frames."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input image.

    Attributes:
        height: Rows of the network input.
        width: Columns of the network input.
        color: Channel order; ``grey`` is one channel.
        mean: Per channel, in pixel units (0..255).
        scale: Per channel: input = (pixel - mean) * scale.
        resize: ``stretch`` ignores the aspect ratio, ``fit`` pads, ``fill`` crops the centre; ``corner``
            is ``fit`` with all padding to the right or below, as many detectors were trained; ``line`` makes a frame
            as high as the input, as readers of text were trained: what is shorter is padded at its right, what is
            longer is squeezed.
        interpolation: Between pixels.
        pad: The pixel that is padded with, 0..255 in every channel; None for the mean, which makes inputs of 0.

    Raises:
        ConfigurationError: A size is not positive, ``mean`` or ``scale`` does not have one finite number per channel,
            a scale is zero, ``pad`` is no pixel, or a choice is unknown.
    """

    height: int
    width: int
    color: Color = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1 / 255, 1 / 255, 1 / 255)
    resize: Resize = "stretch"
    interpolation: Interpolation = "bilinear"
    pad: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("color", Color), ("resize", Resize), ("interpolation", Interpolation)):
            value, known = getattr(self, name), typing.get_args(choices)
            if value not in known:
                raise ConfigurationError(f"preprocessing: {name} is {value!r}", f"choose from: {', '.join(known)}")
        if self.height < 1 or self.width < 1:
            raise ConfigurationError(
                f"preprocessing: the input is {self.height} x {self.width} pixels", "give a positive height and width"
            )
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) != self.channels:
                raise ConfigurationError(
                    f"preprocessing: {name} has {len(values)} numbers and {self.color} has {self.channels} channels",
                    "give one number per channel",
                )
            if not all(map(math.isfinite, values)):
                raise ConfigurationError(f"preprocessing: {name} is {values}", "give finite numbers")
        if 0 in self.scale:
            raise ConfigurationError("preprocessing: a scale is 0", "give 1 / standard deviation, in 1 / pixel units")
        if self.pad is not None and not 0 <= self.pad <= 255:
            raise ConfigurationError(f"preprocessing: pad is {self.pad}", "give a pixel, 0 to 255")

    @property
    def channels(self) -> int:
        return 1 if self.color == "grey" else 3

    @property
    def pads(self) -> bool:
        """Whether a part of the input may hold what is no pixel: zeros, whatever the mean."""
        return self.resize in ("fit", "corner", "line") and self.pad is None


@dataclass(frozen=True)
class _FrameGeometry:
    """How frames of one shape become pixels: cut out, converted, resized, and placed into a region of the input."""

    crop: tuple[slice, slice] | None
    resizer: Resizer | None
    region: tuple[slice, slice] | None


class PicturePreparer:
    """Fills one input tensor from camera frames. Built once; not for use from several threads at once.

    Args:
        preprocessing: What the network expects.
        tensor: The input tensor: shape (1, height, width, channels), float32, int8 or uint8.

    Raises:
        ConfigurationError: Tensor and preprocessing do not fit each other, or the dtype is another.
    """

    def __init__(self, preprocessing: Preprocessing, tensor: TensorSpec) -> None:
        spec = preprocessing
        if tensor.shape != (1, spec.height, spec.width, spec.channels):
            raise ConfigurationError(
                f"input {tensor.name} has shape {tensor.shape} and its preprocessing makes "
                f"{(1, spec.height, spec.width, spec.channels)}",
                "make both agree",
            )
        if tensor.dtype not in ("float32", "int8", "uint8"):
            raise ConfigurationError(f"input {tensor.name} is {tensor.dtype}", "use float32, int8 or uint8")
        self._spec = spec
        self._reverses = spec.color == "bgr"
        self._geometries: dict[tuple[int, ...], _FrameGeometry] = {}
        self._mean = np.array(spec.mean, np.float32)
        self._scale = np.array(spec.scale, np.float32)
        self._uniform = len(set(spec.mean)) == len(set(spec.scale)) == 1
        self._padding: float | int | Array = 0.0
        self._tables: Array | None = None
        if tensor.dtype != "float32":
            pixels = np.arange(256, dtype=np.float32)[:, None]
            self._tables = np.ascontiguousarray(quantise((pixels - self._mean) * self._scale, tensor).T)
            self._padding = int(quantise(0.0, tensor))
        self._flips_sign = self._tables is not None and (self._tables == np.arange(-128, 128)).all()
        if spec.pad is not None:
            pixel = np.full((1, 1, 1), spec.pad, np.uint8)
            padding: Array = np.empty((1, 1, spec.channels), tensor.dtype)
            self._write(pixel, padding)
            self._padding = padding[0, 0]

    def fill(self, frame: Frame, out: Array) -> None:
        """Write the network input made of ``frame`` into ``out``.

        Args:
            frame: uint8, height x width (grey) or height x width x 3 (RGB), any size.
            out: Array of the tensor's shape and dtype; its former content does not matter.

        Raises:
            InputError: The frame has another dtype or shape.
        """
        try:
            geometry = self._geometries.get(frame.shape)
            known = geometry is not None and frame.dtype == np.uint8
        except AttributeError:
            known = False
        if not known:
            geometry = self._geometry_of(frame)
        assert geometry is not None
        target = out[0]
        pixels: Pixels = frame if geometry.crop is None else frame[geometry.crop]
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        elif self._spec.channels == 1:
            pixels = _luma(pixels)
        if geometry.resizer is not None:
            pixels = geometry.resizer(pixels)
        elif self._reverses and pixels.shape[2] == 3:
            pixels = pixels[:, :, ::-1]
        if geometry.region is not None:
            rows, columns = geometry.region
            target[: rows.start] = target[rows.stop :] = self._padding
            target[rows, : columns.start] = target[rows, columns.stop :] = self._padding
            target = target[geometry.region]
        self._write(pixels, target)

    def _write(self, pixels: Pixels, target: Array) -> None:
        if self._tables is None:
            self._write_float(pixels, target)
        else:
            self._write_table(pixels, target, self._tables)

    def _write_float(self, pixels: Pixels, target: Float32Array) -> None:
        if self._uniform and pixels.shape == target.shape and pixels.flags.c_contiguous:
            np.subtract(pixels, self._mean[0], out=target, dtype=np.float32)
            np.multiply(target, self._scale[0], out=target)
            return
        for channel in range(target.shape[2]):
            plane = target[:, :, channel]
            np.subtract(pixels[:, :, channel % pixels.shape[2]], self._mean[channel], out=plane, dtype=np.float32)
            np.multiply(plane, self._scale[channel], out=plane)

    def _write_table(self, pixels: Pixels, target: Array, tables: Array) -> None:
        whole = self._uniform and pixels.shape == target.shape and pixels.flags.c_contiguous
        if whole and self._flips_sign:
            np.bitwise_xor(pixels, np.uint8(128), out=target.view(np.uint8))
        elif whole and target.flags.c_contiguous:
            # Without an index, and faster than numpy's lookup.
            table = tables[0].tobytes()
            for rows in _few_rows(target):
                few = target[rows]
                few[...] = np.frombuffer(pixels[rows].tobytes().translate(table), few.dtype).reshape(few.shape)
        else:
            for channel in range(target.shape[2]):
                plane, seen = target[:, :, channel], pixels[:, :, channel % pixels.shape[2]]
                for rows in _few_rows(plane):
                    plane[rows] = tables[channel][seen[rows]]

    def _geometry_of(self, frame: Any) -> _FrameGeometry:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
            kind = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
            raise InputError(f"a frame is {kind}", "give a numpy array of uint8, 0 to 255")
        grey, color = frame.ndim == 2, frame.ndim == 3 and frame.shape[2] == 3
        if not (grey or color) or 0 in frame.shape:
            raise InputError(
                f"a frame has shape {frame.shape}", "give height x width (grey) or height x width x 3 (RGB)"
            )
        geometry = _geometry(self._spec, frame.shape)
        if len(self._geometries) >= _SHAPES_KEPT:
            self._geometries.clear()
        self._geometries[frame.shape] = geometry
        return geometry


def frame_regions(
    spec: Preprocessing, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice] | None, tuple[slice, slice] | None]:
    """Which part of a frame fills which part of the network input.

    Args:
        spec: What the network expects.
        shape: Of the frame.

    Returns:
        Rows and columns of the frame, None for all of them; and those of the input.
    """
    height, width = shape[:2]
    target = (spec.height, spec.width)
    if (height, width) == target or spec.resize == "stretch":
        return None, None
    # Ratios are compared and rounded in whole numbers: no machine rounds a half differently.
    wide = height * target[1] < target[0] * width
    if spec.resize == "fill":
        rows, columns = (
            (height, min(width, _ratio(height, target[1], target[0])))
            if wide
            else (min(height, _ratio(width, target[0], target[1])), width)
        )
        top, left = (height - rows) // 2, (width - columns) // 2
        return (slice(top, top + rows), slice(left, left + columns)), None
    if spec.resize == "line":
        return None, (slice(0, target[0]), slice(0, min(target[1], -(-target[0] * width // height))))
    inner = (_ratio(target[1], height, width), target[1]) if wide else (target[0], _ratio(target[0], width, height))
    top, left = (0, 0) if spec.resize == "corner" else ((target[0] - inner[0]) // 2, (target[1] - inner[1]) // 2)
    return None, (slice(top, top + inner[0]), slice(left, left + inner[1]))


def frame_ratio(spec: Preprocessing, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """So many pixels of the frame are so many of the network input, in both directions; None but for ``corner``.

    There a frame is what is left of a larger one of the input's shape. Its border may lie within a pixel of the input.
    """
    if spec.resize != "corner":
        return None
    height, width = shape[:2]
    return (width, spec.width) if height * spec.width < spec.height * width else (height, spec.height)


def _geometry(spec: Preprocessing, shape: tuple[int, ...]) -> _FrameGeometry:
    depth = shape[2] if len(shape) == 3 and spec.channels == 3 else 1
    if shape[:2] == (spec.height, spec.width):
        return _FrameGeometry(None, None, None)
    crop, region = frame_regions(spec, shape)
    rows, columns = (crop[0].stop - crop[0].start, crop[1].stop - crop[1].start) if crop else shape[:2]
    inner = (
        (region[0].stop - region[0].start, region[1].stop - region[1].start) if region else (spec.height, spec.width)
    )
    is_bilinear, is_bgr = spec.interpolation == "bilinear", spec.color == "bgr"
    resizer = Resizer((rows, columns, depth), inner, is_bilinear, is_bgr, frame_ratio(spec, shape))
    return _FrameGeometry(crop, resizer, region)


def _few_rows(target: Array) -> Iterator[slice]:
    """Rows of at most :data:`_AT_ONCE` values, or one."""
    step = max(1, _AT_ONCE * len(target) // target.size)
    return (slice(first, first + step) for first in range(0, len(target), step))


def _ratio(length: int, numerator: int, denominator: int) -> int:
    """``length * numerator / denominator``, rounded half up, at least 1."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _luma(rgb: Pixels) -> Pixels:
    """ITU-R BT.601 luma with the 16-bit weights of Pillow's ``convert("L")``, rounded half up; HxWx3 to HxWx1."""
    total = np.multiply(rgb[:, :, 0], np.uint32(19595), dtype=np.uint32)
    total += np.multiply(rgb[:, :, 1], np.uint32(38470), dtype=np.uint32)
    total += np.multiply(rgb[:, :, 2], np.uint32(7471), dtype=np.uint32)
    total += np.uint32(0x8000)
    total >>= np.uint32(16)
    return total.astype(np.uint8)[:, :, None]


_PREPARE = threading.Lock()
"""The preparers that :func:`prepare` keeps hold scratch memory."""


@functools.lru_cache(maxsize=64)
def _float_preparer(spec: Preprocessing) -> PicturePreparer:
    return PicturePreparer(spec, TensorSpec("input", (1, spec.height, spec.width, spec.channels), "float32"))


def prepare(frame: Frame, spec: Preprocessing) -> Float32Array:
    """The network input made of one frame, as real values.

    Args:
        frame: uint8, height x width (grey) or height x width x 3 (RGB), any size.
        spec: What the network expects.

    Returns:
        float32, ``spec.height`` x ``spec.width`` x ``spec.channels``.

    Raises:
        InputError: The frame has another dtype or shape.
    """
    out = np.empty((1, spec.height, spec.width, spec.channels), np.float32)
    with _PREPARE:
        _float_preparer(spec).fill(frame, out)
    values: Float32Array = out[0]
    return values


def prepare_batch(frames: Iterable[Frame], spec: Preprocessing) -> Float32Array:
    """Network inputs made of several frames, channels first, as ONNX and PyTorch networks take them.

    Args:
        frames: Each uint8, height x width (grey) or height x width x 3 (RGB); sizes may differ.
        spec: What the network expects.

    Returns:
        float32, N x channels x height x width, C-contiguous.

    Raises:
        InputError: A frame has another dtype or shape; the message numbers it from 0.
    """
    batch = []
    for number, frame in enumerate(frames):
        try:
            batch.append(prepare(frame, spec).transpose(2, 0, 1))
        except InputError as error:
            raise InputError(f"frame {number}: {error.problem}", error.remedy) from None
    if not batch:
        return np.empty((0, spec.channels, spec.height, spec.width), np.float32)
    return np.ascontiguousarray(np.stack(batch))
