"""Whatever a network may be fed with: a closed union of preparations, each with what fills a tensor by it.

A *frame* is what a source gives for one moment: a picture (:mod:`multigraft.tensors.preprocessing`) or a row of numbers
(:mod:`multigraft.tensors.array_preparation`). Another kind is one more member of :data:`Preparation`, a branch in each
function below, and a table in the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from multigraft.errors import InputError
from multigraft.sounds.listening import Listening
from multigraft.tensors.array_preparation import ArrayPreparation, ArrayPreparer, prepare_rows, random_row, same_shape
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import PicturePreparer, Preprocessing, prepare_batch
from multigraft.tensors.specs import TensorSpec

Preparation = Preprocessing | ArrayPreparation

Frame = Array
"""A picture (uint8, height x width or height x width x 3), a row of numbers of any shape, or samples (int16)."""

Rows = tuple[int, ...] | Listening
"""What a source has to give that gives no pictures: rows of a shape, or windows of sound."""


class Preparer(Protocol):
    """Fills one input tensor from frames. Not for use from several threads at once."""

    def fill(self, frame: Any, out: Array) -> None:
        """Write the network input made of ``frame`` into ``out``, an array of the tensor's shape and dtype.

        Raises:
            InputError: The frame is not of the kind that the task takes.
        """
        ...


def preparer_for(preparation: Preparation, tensor: TensorSpec) -> Preparer:
    """What fills ``tensor``.

    Raises:
        ConfigurationError: Tensor and preparation do not fit each other.
    """
    if isinstance(preparation, ArrayPreparation):
        return ArrayPreparer(preparation, tensor)
    return PicturePreparer(preparation, tensor)


def prepare_frames(frames: Iterable[Any], preparation: Preparation) -> Array:
    """Network inputs as the original network takes them: N x :func:`network_shape`, C-contiguous.

    Float32; int32 for arrays of whole numbers.

    Raises:
        InputError: A frame is not of the kind that the task takes; the message numbers it from 0.
    """
    if isinstance(preparation, ArrayPreparation):
        return prepare_rows(frames, preparation)
    return prepare_batch(frames, preparation)


def network_shape(preparation: Preparation) -> tuple[int, ...]:
    """Shape of the original network's input without the batch; pictures are channels first."""
    if isinstance(preparation, ArrayPreparation):
        return preparation.shape
    return (preparation.channels, preparation.height, preparation.width)


def blank_frame(preparation: Preparation) -> Frame:
    """A frame of the kind it takes, of its own size: a grey picture, or zeros."""
    if isinstance(preparation, ArrayPreparation):
        if preparation.sound is not None:
            return np.zeros(preparation.sound.listening.samples, np.int16)
        return np.zeros(preparation.shape, preparation.values)
    return np.full((preparation.height, preparation.width, 3), 128, np.uint8)


def random_frame(preparation: Preparation, random: np.random.Generator) -> Frame:
    """A frame of the kind it takes, of its own size: random pixels or numbers."""
    if isinstance(preparation, ArrayPreparation):
        return random_row(preparation, random)
    shape = (preparation.height, preparation.width, 3)[: 2 if preparation.channels == 1 else 3]
    return random.integers(0, 256, shape, np.uint8)


def row_shape(preparation: Preparation) -> Rows | None:
    """The shape of the rows that it takes, or the windows of sound; None for pictures."""
    if not isinstance(preparation, ArrayPreparation):
        return None
    return preparation.shape if preparation.sound is None else preparation.sound.listening


def take_same_frames(a: Preparation, b: Preparation) -> bool:
    """Whether one frame can serve both."""
    rows_a, rows_b = row_shape(a), row_shape(b)
    if rows_a is None or rows_b is None:
        return rows_a is rows_b
    if isinstance(rows_a, Listening) or isinstance(rows_b, Listening):
        return rows_a == rows_b
    return same_shape(rows_a, rows_b)


def shared_row_shape(preparations: Sequence[Preparation]) -> Rows | None:
    """As :func:`row_shape`, for networks that one source is to serve.

    Raises:
        InputError: No frame can serve all of them.
    """
    first = preparations[0]
    for other in preparations[1:]:
        if not take_same_frames(first, other):
            raise InputError(
                f"one source cannot serve tasks that take {describe_frames(first)} and {describe_frames(other)}",
                "give each kind of task a source of its own",
            )
    return row_shape(first)


def describe_frames(preparation: Preparation) -> str:
    """What it takes, in words."""
    shape = row_shape(preparation)
    if isinstance(shape, Listening):
        return f"sounds of {shape.samples} samples every {shape.hop} at {shape.rate_hz} Hz"
    return "pictures" if shape is None else f"rows of {' x '.join(map(str, shape))} numbers"
