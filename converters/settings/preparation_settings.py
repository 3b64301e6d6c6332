"""``[task.preprocessing]``: what a network expects of its frames, as a table of one of several forms.

Each form is a dataclass of keys with ``resolved``; the key that only it has tells which one is meant (:data:`FORMS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from multigraft.converters.settings.toml_reader import (
    Place,
    Reader,
    choice,
    integer,
    key,
    number,
    read_table,
    several,
)
from multigraft.errors import ConfigurationError
from multigraft.sounds.front_end import NAMED, FrontEnd
from multigraft.sounds.sound_window import SoundWindow
from multigraft.tensors.array_preparation import ArrayPreparation, Values
from multigraft.tensors.preparation import Preparation
from multigraft.tensors.preprocessing import Color, Interpolation, Preprocessing, Resize


def _read_numbers(value: Any, place: Place) -> tuple[float, ...]:
    if isinstance(value, list):
        values: tuple[float, ...] = several(_NUMBER, _PER_CHANNEL.expects).read(value, place)
        return values
    return (_NUMBER.read(value, place),)


def _read_size(value: Any, place: Place) -> tuple[int, int]:
    size = several(integer(1, "a whole number above 0"), _SIZE.expects).read(value, place)
    if len(size) != 2:
        place.fail(f"has {len(size)} values", f"write {_SIZE.expects}")
    return (size[0], size[1])


def _read_shape(value: Any, place: Place) -> tuple[int, ...]:
    shape: tuple[int, ...] = several(integer(1, "a whole number above 0"), _SHAPE.expects).read(value, place)
    if not shape:
        place.fail("is empty", f"write {_SHAPE.expects}")
    return shape


_NUMBER = number(lambda v: True, "a number")
_PER_CHANNEL = Reader("a number, or a list with one number per channel", _read_numbers)
_PER_PLACE = Reader("a number, or a list with one number per place along axis", _read_numbers)
_SIZE = Reader("[height, width] in pixels", _read_size)
_SHAPE = Reader("a list of whole numbers above 0, as in [3, 128]", _read_shape)


@dataclass(frozen=True)
class PreprocessingSettings:
    """How a camera frame becomes this network's input: ``(pixel - mean) * scale``, pixel 0..255."""

    size: tuple[int, int] = key("Height and width of the network input, pixels.", _SIZE)
    color: Color = key("Channel order; grey is one channel.", choice(*get_args(Color)), default="rgb")
    mean: tuple[float, ...] = key("Subtracted from each pixel, pixel units (0..255).", _PER_CHANNEL, default=(0.0,))
    scale: tuple[float, ...] = key(
        "Multiplied after the mean; 1 / (255 * std) for a std in 0..1 units.", _PER_CHANNEL, default=(1 / 255,)
    )
    resize: Resize = key(
        "stretch ignores the aspect ratio, fit pads, fill crops the centre, corner pads right or below, "
        "line fills the height and pads at the right or squeezes the width.",
        choice(*get_args(Resize)),
        default="stretch",
    )
    interpolation: Interpolation = key("Between pixels.", choice(*get_args(Interpolation)), default="bilinear")
    pad: int | None = key(
        "The pixel that is padded with, 0..255 in every channel, as in 114 for YOLO networks; by default the mean.",
        integer(0, "a whole number from 0 to 255", 255),
        default=None,
    )

    def resolved(self, place: Place) -> Preprocessing:
        """What is read here, checked across keys."""
        channels = 1 if self.color == "grey" else 3
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in (1, channels):
                place.at(name).fail(
                    f"has {len(values)} values", f"write one number, or {channels} for color {self.color!r}"
                )
        if 0.0 in self.scale:
            place.at("scale").fail("is 0, which makes every input equal", "write 1 / (255 * std)")
        if self.pad is not None and self.resize in ("stretch", "fill"):
            place.at("pad").fail(f'is {self.pad}, and resize = "{self.resize}" pads nothing', 'write resize = "fit"')
        mean, scale = (v * channels if len(v) == 1 else v for v in (self.mean, self.scale))
        return Preprocessing(*self.size, self.color, mean, scale, self.resize, self.interpolation, self.pad)


@dataclass(frozen=True)
class ArraySettings:
    """For a network that takes no pictures: how a row of numbers (a spectrum, audio features, a window of an
    accelerometer) becomes its input: ``(value - mean) * scale``. The frames are then .npy or .npz files, one row a
    frame, or a folder of .npy files."""

    shape: tuple[int, ...] = key("Shape of a row: that of the network's input without the batch.", _SHAPE)
    mean: tuple[float, ...] = key("Subtracted from each number.", _PER_PLACE, default=(0.0,))
    scale: tuple[float, ...] = key("Multiplied after the mean; 1 / std.", _PER_PLACE, default=(1.0,))
    axis: int | None = key(
        "Axis of shape that a list of means or scales belongs to, counted from 0; by default the one of its length.",
        integer(0, "a whole number of at least 0"),
        default=None,
    )
    values: Values = key(
        "int32: whole numbers (class numbers, letters) that the network takes as they are.",
        choice(*get_args(Values)),
        default="float32",
    )

    def resolved(self, place: Place) -> ArrayPreparation:
        """What is read here, checked across keys."""
        if self.axis is not None and self.axis >= len(self.shape):
            place.at("axis").fail(
                f"is {self.axis} and shape has {len(self.shape)} numbers", f"write 0 to {len(self.shape) - 1}"
            )
        axis = self.axis
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) == 1:
                continue
            fitting = [i for i, n in enumerate(self.shape) if n == len(values) and self.axis in (None, i)]
            if not fitting:
                place.at(name).fail(
                    f"has {len(values)} values and shape is {list(self.shape)}",
                    "write one number, or one per place along an axis of shape",
                )
            if axis is None and len(fitting) > 1:
                place.at(name).fail(
                    f"has {len(values)} values, which fits several axes of shape {list(self.shape)}",
                    f"write axis = {fitting[0]} or axis = {fitting[-1]}",
                )
            if axis is not None and axis not in fitting:
                place.at(name).fail("belongs to another axis than mean", "write both for one axis")
            axis = fitting[0]
        if 0.0 in self.scale:
            place.at("scale").fail("is 0, which makes every input equal", "write 1 / std")
        if self.values == "int32" and (any(self.mean) or set(self.scale) != {1.0}):
            place.at("values").fail("is int32, which is not shifted or scaled", "leave mean and scale out")
        return ArrayPreparation(self.shape, self.mean, self.scale, axis or 0, (), self.values)


@dataclass(frozen=True)
class FrontEndSettings:
    """The key ``sound`` as a table. Windows of samples are weighted (Hann) and transformed; their power is summed in
    bands that are even on the mel scale. A feature is the natural logarithm of a sum; samples count as -1 to 1."""

    rate_hz: int = key("Samples a second.", integer(1, "a whole number above 0"), default=16_000)
    window_ms: float = key(
        "Length of a row's window, milliseconds.", number(lambda v: v > 0, "a number above 0"), default=30.0
    )
    step_ms: float = key(
        "From one row to the next, milliseconds.", number(lambda v: v > 0, "a number above 0"), default=20.0
    )
    fft: int | None = key(
        "Length of the transform, a power of two; by default the next that holds a window.",
        integer(1, "a whole number above 0"),
        default=None,
    )
    bands: int = key("Bands of a row.", integer(1, "a whole number above 0"), default=40)
    low_hz: float = key("Begin of the first band.", number(lambda v: v >= 0, "a number of at least 0"), default=20.0)
    high_hz: float = key("End of the last band.", number(lambda v: v > 0, "a number above 0"), default=4000.0)
    floor: float = key(
        "Added to a band's power before its logarithm.", number(lambda v: v > 0, "a number above 0"), default=1e-6
    )

    def resolved(self, place: Place) -> FrontEnd:
        """What is read here, checked across keys."""
        window, step = (round(ms * self.rate_hz / 1000) for ms in (self.window_ms, self.step_ms))
        fft = self.fft or 1 << max(0, window - 1).bit_length()
        try:
            return FrontEnd(self.rate_hz, window, step, fft, self.bands, self.low_hz, self.high_hz, self.floor)
        except ConfigurationError as error:
            place.fail(f"cannot be: {error.problem.removeprefix('sound: ')}", error.remedy)


def _read_sound(value: Any, place: Place) -> FrontEnd:
    if isinstance(value, dict):
        made: FrontEnd = read_table(FrontEndSettings, value, place).resolved(place)
        return made
    return NAMED[choice(*NAMED).read(value, place)]


@dataclass(frozen=True)
class SoundSettings:
    """For a network that hears. Its input is ``(feature - mean) * scale``, the feature being in nats. The frames are
    then WAV files, or a microphone's sound. [How to listen](sound.md)."""

    sound: FrontEnd = key(
        'The front end: "keyword" (16 kHz, 30 ms every 20 ms, 40 bands from 20 to 4000 Hz), or a table of its keys.',
        Reader('"keyword" or a table such as { window_ms = 40, bands = 64 }', _read_sound, FrontEndSettings),
    )
    shape: tuple[int, ...] = key("Shape of the network's input without the batch: rows and bands.", _SHAPE)
    mean: float = key("Subtracted from each feature, nats.", _NUMBER, default=0.0)
    scale: float = key("Multiplied after the mean; 1 / std.", _NUMBER, default=1.0)
    hop_ms: float | None = key(
        "From one window of sound to the next, milliseconds; by default half a window.",
        number(lambda v: v > 0, "a number above 0"),
        default=None,
    )

    def resolved(self, place: Place) -> ArrayPreparation:
        """What is read here, checked across keys."""
        sides = [n for n in self.shape if n != 1]
        if len(sides) != 2 or self.sound.bands not in sides:
            place.at("shape").fail(
                f"is {list(self.shape)} and the sound has {self.sound.bands} bands",
                f"write for instance [1, 49, {self.sound.bands}]",
            )
        if self.scale == 0:
            place.at("scale").fail("is 0, which makes every input equal", "write 1 / std")
        rows = sides[0] if sides[1] == self.sound.bands else sides[1]
        hop = self.sound.samples(rows) // 2
        if self.hop_ms is not None:
            hop = max(1, round(self.hop_ms * self.sound.rate_hz / 1000))
        window = SoundWindow(self.sound, rows, hop)
        return ArrayPreparation(self.shape, (self.mean,), (self.scale,), sound=window)


Form = type[PreprocessingSettings] | type[ArraySettings] | type[SoundSettings]

FORMS: tuple[tuple[str, str, Form], ...] = (
    ("size", "pictures", PreprocessingSettings),
    ("sound", "sounds", SoundSettings),
    ("shape", "arrays", ArraySettings),
)
"""The key that tells a form from the others, what it is for, and its keys."""


def _read_preparation(value: Any, place: Place) -> Preparation:
    if isinstance(value, dict):
        present = [name for name, _, _ in FORMS if name in value]
        if len(present) > 1 and present != ["sound", "shape"]:
            place.at(present[1]).fail(
                f"contradicts {present[0]}",
                "write size for pictures, sound and shape for sounds, or shape for other arrays of numbers",
            )
        form: Form = next((form for name, _, form in FORMS if name in value), PreprocessingSettings)
        if form is not PreprocessingSettings and "color" in value:
            place.at("color").fail("belongs to pictures, and shape to other frames", "write size in place of shape")
    else:
        form = PreprocessingSettings
    resolved: Preparation = read_table(form, value, place).resolved(place)
    return resolved


PREPARATION = Reader(
    "a table [task.preprocessing] with at least size (pictures), sound and shape, or shape (other arrays of numbers)",
    _read_preparation,
    PreprocessingSettings,
)
"""Reads any form."""
