"""Boxes with all that may come with them, and what other tasks said of each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.answers.masks import block_of
from multigraft.answers.per_box import PerBox
from multigraft.runtime.answers import Answer
from multigraft.runtime.drawing.canvas import Canvas
from multigraft.runtime.drawing.colours import Colour, colour_of
from multigraft.runtime.drawing.words import words_of

MOST_DRAWN = 200
"""Boxes of one answer; more would hide the picture anyway."""
FARTHEST = 1e7
"""Pixels: a box that reaches beyond has no pixels that could be counted."""
SEEN = 0.3
"""Keypoints of less confidence are not where they say."""


def draw_detections(canvas: Canvas, task: str, found: Detections, colour: Colour) -> None:
    """Masks first, then lines, then labels, the best on top."""
    numbers = range(min(len(found), MOST_DRAWN) - 1, -1, -1)
    colours = {i: _colour(found, i, colour) for i in numbers}
    if found.masks is not None:
        for i in numbers:
            if not np.abs(found.boxes[i]).max() < FARTHEST:
                continue
            rows, columns = block_of(found.boxes[i])
            canvas.tint_block(found.masks[i], rows.start, columns.start, colours[i])
    for i in numbers:
        left, top, right, bottom = found.boxes[i].tolist()
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        canvas.lines(corners if found.corners is None else found.corners[i].tolist(), colours[i], is_closed=True)
    for i in numbers:
        _draw_keypoints(canvas, found, i, colours[i])
        canvas.label(_text(found, i, task), found.boxes[i][:2].tolist(), colours[i])


def draw_of_boxes(canvas: Canvas, task: str, said: PerBox, colour: Colour, answers: Mapping[str, Answer]) -> None:
    """Answers with a place of their own where they are, others as a line within the lower edge of their box."""
    boxes = answers.get(said.of)
    for number, answer in zip(said.numbers[:MOST_DRAWN], said.answers, strict=False):
        if isinstance(answer, Detections):
            draw_detections(canvas, task, answer, colour)
        elif isinstance(boxes, Detections) and 0 <= number < len(boxes):
            left, _, _, bottom = boxes.boxes[number].tolist()
            # Tasks on the same boxes stand below each other.
            shift = _tasks_before(task, said.of, answers) * (canvas.letters + 8) / canvas.scale
            canvas.label(words_of(task, answer), (left, bottom + shift), colour, below=True)
        else:
            canvas.caption(f"{number}: {words_of(task, answer)}", colour)


def _tasks_before(task: str, of: str, answers: Mapping[str, Answer]) -> int:
    same = [name for name, answer in answers.items() if isinstance(answer, PerBox) and answer.of == of]
    return same.index(task) if task in same else 0


def _colour(found: Detections, number: int, colour: Colour) -> Colour:
    is_single = not found.labels and not found.classes.any()
    return colour if is_single else colour_of(int(found.classes[number]))


def _text(found: Detections, number: int, task: str) -> str:
    score = float(found.scores[number])
    shown = f" {score:.2f}" if math.isfinite(score) else ""
    identity = f" #{found.ids[number]}" if found.ids is not None and found.ids[number] >= 0 else ""
    is_single = not found.labels and not found.classes.any()
    return f"{task if is_single else found.label(number)}{identity}{shown}"


def _draw_keypoints(canvas: Canvas, found: Detections, number: int, colour: Colour) -> None:
    if found.keypoints is None:
        return
    points = found.keypoints[number].tolist()
    for a, b in found.edges:
        if max(a, b) < len(points) and min(a, b) >= 0 and points[a][2] >= SEEN and points[b][2] >= SEEN:
            canvas.lines([points[a], points[b]], colour)
    for point in points:
        if point[2] >= SEEN:
            canvas.dot(point, colour)
