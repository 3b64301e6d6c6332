"""How a row of numbers becomes a network input; the same code on the workstation and on the device.

A row is one frame of a source of arrays: a spectrum, features of a sound, a window of an accelerometer. The network
input is ``(value - mean) * scale``, computed in float32 with a rounding after each of the two, whatever type the row is
stored in; for an int8 or uint8 input tensor it is then quantised (:mod:`multigraft.tensors.quantisation`). So what
calibration saw on the workstation is what the device computes, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from multigraft.errors import ConfigurationError, InputError
from multigraft.sounds.log_mel import Samples
from multigraft.sounds.sound_window import SoundWindow
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.specs import TensorSpec

Values = Literal["float32", "int32"]


@dataclass(frozen=True)
class ArrayPreparation:
    """What a network expects of its row.

    Attributes:
        shape: Of a row, and of the network's input without the batch, in the order of the original network.
        mean: One number, or one per place along ``axis``.
        scale: Likewise: input = (value - mean) * scale.
        axis: The axis of ``shape`` that several means or scales belong to.
        order: Axes of a row in the order in which the input tensor holds them; empty where both are the same.
        values: ``int32`` are whole numbers (class numbers, letters) that the network takes as they are.
        sound: The row is made of a sound's samples, which are then the frame; one axis of ``shape`` holds its rows, one
            its bands, and all others are of length 1.
        kind: Tells it apart from other preparations in a manifest.

    Raises:
        ConfigurationError: A size is not positive, ``mean`` or ``scale`` has another length or is not finite, a scale
            is zero, or whole numbers are to be scaled.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    axis: int = 0
    order: tuple[int, ...] = ()
    values: Values = "float32"
    sound: SoundWindow | None = None
    kind: Literal["array"] = "array"

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ConfigurationError(f"preprocessing: shape is {list(self.shape)}", "give positive whole numbers")
        if not 0 <= self.axis < len(self.shape):
            raise ConfigurationError(
                f"preprocessing: axis is {self.axis} and shape has {len(self.shape)} numbers",
                f"give 0 to {len(self.shape) - 1}",
            )
        if self.order and sorted(self.order) != list(range(len(self.shape))):
            raise ConfigurationError(f"preprocessing: order is {list(self.order)}", "name each axis of shape once")
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in (1, self.shape[self.axis]):
                raise ConfigurationError(
                    f"preprocessing: {name} has {len(values)} numbers and axis {self.axis} of shape "
                    f"{list(self.shape)} has {self.shape[self.axis]}",
                    "give one number, or one per place along the axis",
                )
            if not all(map(math.isfinite, values)):
                raise ConfigurationError(f"preprocessing: {name} is {values}", "give finite numbers")
        if 0 in self.scale:
            raise ConfigurationError("preprocessing: a scale is 0", "give 1 / standard deviation")
        if self.values == "int32" and (any(self.mean) or set(self.scale) != {1.0}):
            raise ConfigurationError(
                "preprocessing: whole numbers are to be shifted or scaled", "leave out mean and scale, or values"
            )

        if self.sound is not None:
            if len(self.mean) != 1 or len(self.scale) != 1 or self.values != "float32":
                raise ConfigurationError(
                    "preprocessing: features of a sound have several means or scales", "give one number for each"
                )
            wanted = (self.sound.rows, self.sound.front_end.bands)
            if not same_shape(self.shape, wanted) and not same_shape(self.shape, wanted[::-1]):
                raise ConfigurationError(
                    f"preprocessing: shape is {list(self.shape)} and its sound makes {wanted[0]} rows of {wanted[1]}",
                    "make both agree",
                )

    @property
    def is_bands_first(self) -> bool:
        """Whether an axis of bands stands before that of rows in ``shape``."""
        return self.sound is not None and not same_shape(self.shape, (self.sound.rows, self.sound.front_end.bands))

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Of the input tensor, with its batch of 1."""
        return (1, *(self.shape[axis] for axis in self.order or range(len(self.shape))))


class ArrayPreparer:
    """Fills one input tensor from rows. Built once.

    Args:
        preparation: What the network expects.
        tensor: The input tensor: float32, int8 or uint8; int32 for whole numbers.

    Raises:
        ConfigurationError: Tensor and preparation do not fit each other, or the dtype is another.
    """

    def __init__(self, preparation: ArrayPreparation, tensor: TensorSpec) -> None:
        if tensor.shape != preparation.tensor_shape:
            raise ConfigurationError(
                f"input {tensor.name} has shape {tensor.shape} and its preprocessing makes {preparation.tensor_shape}",
                "make both agree",
            )
        allowed = ("int32",) if preparation.values == "int32" else ("float32", "int8", "uint8")
        if tensor.dtype not in allowed:
            raise ConfigurationError(f"input {tensor.name} is {tensor.dtype}", f"use {' or '.join(allowed)}")
        self._preparation, self._tensor = preparation, tensor

    def fill(self, frame: Array, out: Array) -> None:
        """Write the network input made of the row ``frame`` into ``out``.

        Args:
            frame: Numbers of the preparation's shape; axes of length 1 may be left out or added.
            out: Array of the tensor's shape and dtype; its former content does not matter.

        Raises:
            InputError: The row has another shape, is no array of real numbers, or holds NaN or infinity.
        """
        values = prepare_row(frame, self._preparation)
        if self._preparation.order:
            values = values.transpose(self._preparation.order)
        is_quantised = self._tensor.dtype in ("int8", "uint8")
        out[0] = quantise(values, self._tensor) if is_quantised else values


def prepare_row(frame: Any, preparation: ArrayPreparation) -> Array:
    """The network input made of one row: float32 (or int32) of the preparation's shape.

    Raises:
        InputError: As :meth:`ArrayPreparer.fill`.
    """
    if preparation.sound is not None:
        features = preparation.sound.features(frame)
        frame = features.T if preparation.is_bands_first else features
    if not isinstance(frame, np.ndarray) or frame.dtype.kind not in "fiub":
        kind = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
        raise InputError(f"a row is {kind}", "give a numpy array of real numbers")
    if not same_shape(frame.shape, preparation.shape):
        raise InputError(
            f"a row has shape {frame.shape} and its task takes {preparation.shape}", "give rows of the shape it takes"
        )
    row = frame.reshape(preparation.shape)
    if preparation.values == "int32":
        return _whole(row)
    # What is too large for float32 becomes infinite, and is refused as such.
    with np.errstate(over="ignore", invalid="ignore"):
        values: Float32Array = row.astype(np.float32)
        values -= _along(preparation.mean, preparation)
        values *= _along(preparation.scale, preparation)
    if not np.isfinite(values).all():
        raise InputError("a row holds NaN, infinity or numbers too large for float32", "remove or repair that row")
    return values


def prepare_rows(frames: Iterable[Any], preparation: ArrayPreparation) -> Array:
    """Network inputs made of several rows: N x the preparation's shape, float32 (or int32), C-contiguous.

    Raises:
        InputError: A row cannot be used; the message numbers it from 0.
    """
    batch = []
    for number, frame in enumerate(frames):
        try:
            batch.append(prepare_row(frame, preparation))
        except InputError as error:
            raise InputError(f"frame {number}: {error.problem}", error.remedy) from None
    if not batch:
        return np.empty((0, *preparation.shape), preparation.values)
    return np.stack(batch)


def random_row(preparation: ArrayPreparation, random: np.random.Generator) -> Array:
    """A row that becomes an input of about mean 0 and deviation 1; whole numbers are 0 and 1, sounds noise."""
    if preparation.sound is not None:
        loudness = 10 ** random.uniform(0, 4, preparation.sound.listening.samples)
        sound: Samples = np.clip(random.normal(0, loudness), -32768, 32767).astype(np.int16)
        return sound
    if preparation.values == "int32":
        return random.integers(0, 2, preparation.shape, np.int32)
    mean, scale = (_along(v, preparation).astype(np.float64) for v in (preparation.mean, preparation.scale))
    row: Float32Array = (random.standard_normal(preparation.shape) / scale + mean).astype(np.float32)
    return row


def same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes hold the same numbers in the same order: they differ in axes of length 1 at most."""
    return tuple(n for n in a if n != 1) == tuple(n for n in b if n != 1)


def _along(values: tuple[float, ...], preparation: ArrayPreparation) -> Float32Array:
    array = np.array(values, np.float32)
    if len(values) == 1:
        return array
    return array.reshape([-1 if axis == preparation.axis else 1 for axis in range(len(preparation.shape))])


def _whole(row: Array) -> Array:
    limits = np.iinfo(np.int32)
    with np.errstate(invalid="ignore"):
        is_whole = (row >= limits.min) & (row <= limits.max)
        if row.dtype.kind == "f":
            is_whole &= np.floor(row) == row
    if not is_whole.all():
        raise InputError("a row holds other than whole numbers of 32 bits", "give class numbers as the network takes")
    return row.astype(np.int32)
