"""Detections as the records of a COCO results file (https://cocodataset.org/#format-results)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.answers.masks import block_of
from multigraft.runtime.answers import Answer
from multigraft.runtime.formats.run_lengths import compressed, run_lengths


def coco_records(
    image: int, answers: Mapping[str, Answer], height: int, width: int, category: Callable[[str, int], int | None]
) -> Iterator[dict[str, Any]]:
    """A record per detection of every task; answers that are no detections give none.

    Beside COCO's keys stand ``task`` and, with names of classes, ``label``.

    Args:
        image: Its ``image_id``.
        answers: Task to answer in pixels of the frame.
        height: Of the frame.
        width: Of the frame.
        category: ``category_id`` of a task's class by its number; None where it has none: it is left out.
    """
    for task, answer in answers.items():
        if isinstance(answer, Detections):
            yield from _of(task, image, answer, height, width, category)


def _of(
    task: str,
    image: int,
    found: Detections,
    height: int,
    width: int,
    category: Callable[[str, int], int | None],
) -> Iterator[dict[str, Any]]:
    for i in range(len(found)):
        number = category(task, int(found.classes[i]))
        if number is None or not (np.isfinite(found.boxes[i]).all() and np.isfinite(found.scores[i])):
            continue
        left, top, right, bottom = (round(v, 2) for v in found.boxes[i].tolist())
        size = round(max(0.0, right - left), 2), round(max(0.0, bottom - top), 2)
        record: dict[str, Any] = {
            "image_id": image,
            "category_id": number,
            "bbox": [left, top, *size],
            "score": round(float(found.scores[i]), 5),
            "area": round(size[0] * size[1], 2),
            "task": task,
        }
        if found.labels:
            record["label"] = found.label(i)
        if found.keypoints is not None:
            record["keypoints"] = np.nan_to_num(found.keypoints[i].astype(np.float64)).round(3).reshape(-1).tolist()
        if found.masks is not None:
            rows, columns = block_of(found.boxes[i])
            lengths = run_lengths(found.masks[i], rows.start, columns.start, height, width)
            record["segmentation"] = {"size": [height, width], "counts": compressed(lengths)}
            record["area"] = float(sum(lengths[1::2]))
        elif found.corners is not None:
            record["segmentation"] = [np.nan_to_num(found.corners[i].astype(np.float64)).round(2).reshape(-1).tolist()]
        yield record
