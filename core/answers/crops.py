"""Tasks that look at what another task found: which boxes, and the part of the frame that each shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.answers.detections import Detections
from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Array, Float64Array

MOST_PIXELS = 1 << 24
"""Of a crop that is turned and so made anew."""

_SURE = 0.3
"""Confidence from which a keypoint tells how a crop is turned."""

_TALL = 1.5
"""A turned box that many times as high as wide is laid on its side: so PaddleOCR reads what is written upwards."""

_UPRIGHT = 0.5
"""Pixels: corners no farther from those of the upright box are not worth making pixels anew."""


@dataclass(frozen=True)
class On:
    """That a task is asked of the boxes of another one, in place of whole frames.

    Attributes:
        task: Whose boxes.
        margin: Added on each side, as a share of the box's width or height.
        top: Boxes looked at per frame at most, those of the highest scores.
        labels: Classes whose boxes are looked at; empty for all.
        level: Numbers of two keypoints, the left one in the picture first, that lie level in the crop (eyes); empty
            for upright crops.
        deadline_us: Microseconds after the start of a frame from which on no further box is begun; None for never.
    """

    task: str
    margin: float = 0.0
    top: int = 4
    labels: tuple[str, ...] = ()
    level: tuple[int, ...] = ()
    deadline_us: float | None = None

    def numbers(self, found: Detections) -> list[int]:
        """Which of the boxes are looked at, by falling score."""
        fitting = [
            n
            for n in range(len(found))
            if (not self.labels or found.label(n) in self.labels) and np.isfinite(found.boxes[n]).all()
        ]
        # A task that was itself asked of several boxes tells of one after the other.
        return sorted(fitting, key=lambda n: -float(found.scores[n]))[: self.top]


def way_to_crops(task: str, on_of: Callable[[str], On | None]) -> tuple[On, ...]:
    """Through whose boxes a task looks: the outermost first, without deadlines; nothing for one of whole frames.

    Args:
        task: Its name.
        on_of: Task to what it looks at; leads to one of whole frames in the end.
    """
    way: list[On] = []
    while (on := on_of(task)) is not None:
        way.insert(0, dataclasses.replace(on, deadline_us=None))
        task = on.task
    return tuple(way)


def by_stage(tasks: Iterable[str], on_of: Callable[[str], On | None]) -> dict[On | None, list[str]]:
    """Tasks by what they look at, in running order: those of whole frames first.

    Args:
        tasks: Their names; of each task also that whose boxes it looks at.
        on_of: Task to what it looks at; leads to one of whole frames in the end.
    """
    waiting = {name: on_of(name) for name in tasks}
    stages: dict[On | None, list[str]] = {None: [name for name, on in waiting.items() if on is None]}
    ready = set(stages[None])
    while waiting := {name: on for name, on in waiting.items() if name not in ready}:
        level = {name: on for name, on in waiting.items() if on is not None and on.task in ready}
        for name, on in level.items():
            stages.setdefault(on, []).append(name)
        ready |= level.keys()
    return stages


def crop(frame: Array, found: Detections, number: int, on: On) -> tuple[Array, Placement]:
    """The part of the frame that a box shows, and how it lies there.

    Args:
        frame: uint8, height x width or height x width x 3.
        found: Boxes in pixels of the frame.
        number: Which of them.
        on: Margin and alignment.

    Returns:
        A view of the frame of at least one pixel, cut at its border; where keypoints are made level, or the box has
        corners and is turned, a copy, with the nearest pixels of the border beyond it. A turned box is cut along its
        sides, and one much higher than wide lies on its left side. The placement takes pixels of the crop to those
        of the frame.
    """
    height, width = frame.shape[:2]
    turned = None if on.level else _along_corners(frame, found, number, on.margin)
    if turned is not None:
        return turned
    left, top, right, bottom = found.boxes[number].astype(np.float64).tolist()
    wide, high = on.margin * (right - left), on.margin * (bottom - top)
    left, right, top, bottom = left - wide, right + wide, top - high, bottom + high
    angle = _angle(found, number, on)
    if angle and (right - left) * (bottom - top) <= MOST_PIXELS:
        return _turned(frame, (left, top, right, bottom), angle)
    first = min(max(math.floor(left), 0), width - 1), min(max(math.floor(top), 0), height - 1)
    last = max(min(math.ceil(right), width), first[0] + 1), max(min(math.ceil(bottom), height), first[1] + 1)
    matrix = np.array([[1.0, 0.0, first[0]], [0.0, 1.0, first[1]]])
    return frame[first[1] : last[1], first[0] : last[0]], Placement(matrix, width, height)


def _along_corners(frame: Array, found: Detections, number: int, margin: float) -> tuple[Array, Placement] | None:
    """Along the sides of a turned box; None where it has no corners or is not turned."""
    if found.corners is None or not np.isfinite(found.corners[number]).all():
        return None
    corners = found.corners[number].astype(np.float64)
    if np.hypot(*(corners[3] - corners[0])) >= _TALL * np.hypot(*(corners[1] - corners[0])):
        corners = np.roll(corners, -1, axis=0)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    along, across = corners[1] - corners[0], corners[3] - corners[0]
    width, height = np.hypot(*along) * (1 + 2 * margin), np.hypot(*across) * (1 + 2 * margin)
    if np.abs(corners - upright).max() <= _UPRIGHT or min(width, height) < 1 or width * height > MOST_PIXELS:
        return None
    size = max(1, round(width)), max(1, round(height))
    axes = np.column_stack([along * (1 + 2 * margin) / size[0], across * (1 + 2 * margin) / size[1]])
    return _made_anew(frame, np.column_stack([axes, corners[0] - margin * (along + across)]), size)


def _angle(found: Detections, number: int, on: On) -> float:
    """How far the crop is turned, radians; 0 where no keypoints say."""
    if len(on.level) != 2 or found.keypoints is None or max(on.level) >= found.keypoints.shape[1]:
        return 0.0
    (ax, ay, a_sure), (bx, by, b_sure) = found.keypoints[number, list(on.level)].astype(np.float64).tolist()
    if not (a_sure >= _SURE and b_sure >= _SURE) or not math.isfinite(ax + ay + bx + by):
        return 0.0
    return math.atan2(by - ay, bx - ax)


def _turned(frame: Array, box: tuple[float, float, float, float], angle: float) -> tuple[Array, Placement]:
    left, top, right, bottom = box
    columns, rows = max(1, round(right - left)), max(1, round(bottom - top))
    cosine, sine = math.cos(angle), math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    return _made_anew(frame, np.column_stack([linear, centre - linear @ (columns / 2, rows / 2)]), (columns, rows))


def _made_anew(frame: Array, matrix: Float64Array, size: tuple[int, int]) -> tuple[Array, Placement]:
    """A crop of ``size`` (columns, rows) whose pixels ``matrix`` takes to those of the frame."""
    columns, rows = size
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    places = np.stack([x.ravel(), y.ravel()]).T @ matrix[:, :2].T + matrix[:, 2] - 0.5
    return _sampled(frame, places).reshape(rows, columns, *frame.shape[2:]), Placement(matrix, *frame.shape[1::-1])


def _sampled(frame: Array, places: Float64Array) -> npt.NDArray[np.uint8]:
    """Bilinear, at places (n, 2) where the centre of the first pixel is 0."""
    limits = np.array(frame.shape[1::-1]) - 1
    places = np.clip(places, 0, limits)
    low = np.floor(places).astype(np.intp)
    high = np.minimum(low + 1, limits)
    x, y = (places - low).T
    if frame.ndim == 3:
        x, y = x[:, None], y[:, None]
    upper = frame[low[:, 1], low[:, 0]] * (1 - x) + frame[low[:, 1], high[:, 0]] * x
    lower = frame[high[:, 1], low[:, 0]] * (1 - x) + frame[high[:, 1], high[:, 0]] * x
    pixels: npt.NDArray[np.uint8] = np.floor(upper * (1 - y) + lower * y + 0.5).astype(np.uint8)
    return pixels
