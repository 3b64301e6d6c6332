"""Boxes as firmware answers with them: rows of float32, of which a count says how many are filled.

A task at whose boxes others look answers with ``TASK/count`` and ``TASK/boxes``; tasks that look at boxes begin their
answers with ``TASK/crops`` of whose boxes they are: how many were looked at, and their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.tensors.arrays import Array, Float32Array

NUMBERS = 7
"""Of a row: left, top, right, bottom in pixels of the frame, score, class, and number of the box it lies in or -1."""


def rows_of(found: Detections, most: int) -> Float32Array:
    """(most, 7): the rows of a frame, those behind its boxes being 0."""
    rows = np.zeros((most, NUMBERS), np.float32)
    count = len(found)
    # Adding 0 makes 0 of -0.
    rows[:count, :4] = found.boxes + np.float32(0)
    rows[:count, 4] = found.scores
    rows[:count, 5] = found.classes
    rows[:count, 6] = -1 if found.parents is None else found.parents
    return rows


def rows_in(outputs: Mapping[str, Array], task: str) -> Float32Array | None:
    """(n, 7): the filled rows of a task's boxes in a device's answer; None where the answer holds none.

    Of an answer whose end was cut off, as in a stream, those that came.
    """
    boxes, count = outputs.get(f"{task}/boxes"), outputs.get(f"{task}/count")
    if boxes is None or count is None or not count.size:
        return None
    flat = np.asarray(boxes, np.float32).reshape(-1)
    whole: Float32Array = flat[: flat.size // NUMBERS * NUMBERS].reshape(-1, NUMBERS)
    return whole[: max(0, int(count.reshape(-1)[0]))]
