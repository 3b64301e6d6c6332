"""What a friend would say before a build: nothing is wrong with the file, and yet it is not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from multigraft.answers.kind import Kind
from multigraft.converters.network.frames import Frame, Frames
from multigraft.errors import InputError
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation, prepare_frames

LARGEST_INPUT = 300.0
"""Inputs of networks are 0..255 at most; beyond, a mean or a deviation was written in the wrong unit."""

LOOKED_AT = 64
"""Frames that are looked at."""

MOST_STRETCHED = 1.6
MOST_ENLARGED = 2.0
SMALLEST_SPREAD = 1e-3
"""Standard deviation of prepared rows, relative to the largest number, below which they say nothing."""

FLATTEST = 2.0
"""Standard deviation of the pixels below which a frame is of one colour."""


def advice_on_preprocessing(task: str, preprocessing: Preparation) -> Iterator[str]:
    """Sentences about a mean or scale that is in the wrong unit; of arrays only frames tell."""
    if isinstance(preprocessing, ArrayPreparation):
        return
    mean, scale = np.array(preprocessing.mean), np.array(preprocessing.scale)
    largest = float(np.abs(np.stack([(0 - mean) * scale, (255 - mean) * scale])).max())
    if largest > LARGEST_INPUT:
        yield (
            f"the inputs of {task} reach {largest:,.0f}: mean and scale are in pixel units (0..255), so that a mean of "
            "0.485 and a deviation of 0.229 are mean = 123.7 and scale = 0.0171"
        )
    elif np.any((mean > 0) & (mean < 1)):
        yield (
            f"the mean of {task} is {float(mean.max()):g}, which hardly changes a pixel of 0..255: multiply it by 255 "
            "if it is in units of 0..1"
        )


def advice_on_frames(task: str, preprocessing: Preparation, frames: Frames) -> Iterator[str]:
    """Sentences about frames that differ from what the network was made for."""
    step = max(1, len(frames) // LOOKED_AT)
    seen = [frames[i] for i in range(0, len(frames), step)][:LOOKED_AT]
    if not seen:
        return
    if isinstance(preprocessing, ArrayPreparation):
        yield from _advice_on_rows(task, preprocessing, seen)
        return
    if preprocessing.color != "grey" and all(_is_grey(f) for f in seen):
        yield f"all frames of {task} are grey, and its network takes colour"
    if all(float(f.std()) < FLATTEST for f in seen):
        yield f"all frames of {task} are of one brightness ({float(np.mean([f.mean() for f in seen])):.0f} of 255)"
    height, width = (float(np.median([f.shape[i] for f in seen])) for i in (0, 1))
    stretched = (width / height) / (preprocessing.width / preprocessing.height)
    size = f"{height:.0f} x {width:.0f} to {preprocessing.height} x {preprocessing.width} pixels"
    if preprocessing.resize == "stretch" and max(stretched, 1 / stretched) > MOST_STRETCHED:
        yield f'frames of {task} are stretched from {size}: resize = "fit" or "fill" keeps their shape'
    if min(preprocessing.height / height, preprocessing.width / width) > MOST_ENLARGED:
        yield f"frames of {task} are enlarged from {size}, which shows the network less than it was made for"


def check_labels(task: str, kind: Kind, labels: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """Refuse labels that cannot belong to the outputs, or yield a sentence where they may.

    Args:
        task: Its name.
        kind: What the outputs mean.
        labels: One per class; none are fine.
        shapes: Of the outputs, without the batch.

    Raises:
        InputError: A classification has another number of classes.
    """
    if not labels or len(shapes) != 1:
        return
    classes = int(np.prod(shapes[0], dtype=np.int64))
    if kind == "classification" and classes > 1 and classes != len(labels):
        raise InputError(
            f"task {task!r} has {len(labels)} labels, and its network has {classes} outputs",
            "give one label per output, in the order of the outputs",
        )
    if kind == "segmentation" and len(labels) not in shapes[0]:
        yield f"{task} has {len(labels)} labels, and its output is {' x '.join(map(str, shapes[0]))}"


def _advice_on_rows(task: str, preparation: ArrayPreparation, seen: Sequence[Frame]) -> Iterator[str]:
    if preparation.values == "int32":
        return
    values = prepare_frames(seen, preparation)
    largest, spread = float(np.abs(values).max()), float(values.std())
    if largest > LARGEST_INPUT:
        yield (
            f"the inputs of {task} reach {largest:,.0f}: give the mean and 1 / deviation that its network was trained "
            "with as mean and scale"
        )
    elif spread < SMALLEST_SPREAD * max(1.0, largest):
        mean = float(values.mean())
        yield f"the rows of {task} hardly differ: their numbers spread by {spread:.2g} around {mean:.3g}"


def _is_grey(frame: Frame) -> bool:
    return frame.ndim == 2 or bool((frame[..., 0] == frame[..., 1]).all() and (frame[..., 0] == frame[..., 2]).all())
