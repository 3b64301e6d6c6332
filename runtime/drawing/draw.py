"""A frame and its answers as one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.per_box import PerBox
from multigraft.errors import InputError
from multigraft.runtime.answers import Answer
from multigraft.runtime.drawing.canvas import Canvas
from multigraft.runtime.drawing.colours import Colour, colour_of
from multigraft.runtime.drawing.maps import draw_class_map, draw_dense_map
from multigraft.runtime.drawing.of_boxes import draw_detections, draw_of_boxes
from multigraft.runtime.drawing.words import words_of
from multigraft.tensors.preprocessing import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWERS: dict[type, Callable[[Canvas, str, Any, Colour], None]] = {
    ClassMap: draw_class_map,
    DenseMap: draw_dense_map,
    Detections: draw_detections,
}
"""What draws an answer of a type with a place on the frame, in the order of drawing; others are a line below it."""


def draw(frame: Frame, answers: Mapping[str, Answer]) -> Image:
    """The frame with its answers, RGB: a new picture, the frame stays as it is.

    Small frames are magnified in whole steps; captions make the picture higher, dense maps make it wider.

    Args:
        frame: uint8, height x width (grey) or height x width x 3 (RGB).
        answers: Task to its answer in pixels of the frame, as :meth:`multigraft.runtime.Engine.run` gives them.

    Raises:
        InputError: The frame is no picture.
        MissingDependencyError: Pillow is not installed.
    """
    if not is_picture(frame):
        raise InputError(
            f"a frame to draw on is {frame.dtype} of shape {frame.shape}", "give uint8, height x width or x 3"
        )
    canvas = Canvas(frame)
    colours = {task: colour_of(number) for number, task in enumerate(answers)}
    for kind, drawer in DRAWERS.items():
        for task, answer in answers.items():
            if isinstance(answer, kind):
                drawer(canvas, task, answer, colours[task])
    for task, answer in answers.items():
        if isinstance(answer, PerBox):
            draw_of_boxes(canvas, task, answer, colours[task], answers)
        elif not isinstance(answer, tuple(DRAWERS)):
            canvas.caption(words_of(task, answer), colours[task])
    return canvas.finished()


def is_picture(frame: Any) -> bool:
    """Whether a frame can be drawn on."""
    return (
        isinstance(frame, np.ndarray)
        and frame.dtype == np.uint8
        and frame.size > 0
        and (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (1, 3)))
    )
