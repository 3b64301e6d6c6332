"""Answers as rows of one table, whatever their kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from multigraft.answers.class_map import NOT_SEEN, ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.per_box import PerBox, Told
from multigraft.answers.text import Text
from multigraft.runtime.answers import Answer, Classification, Raw, Values

COLUMNS = (
    "frame", "file", "task", "kind", "box", "number", "label", "index", "score", "left", "top", "right", "bottom", "id",
    "value", "points",
)  # fmt: skip
"""The same for every kind, so that tables can be joined; what a kind does not have stays empty.

``kind`` says which row it is: ``class``, ``box``, ``label`` (one per class that reaches the threshold), ``pixels``
(per class of a map, ``value`` counts them), ``map`` (``value``: least, mean, most), ``text``, ``embedding``, ``value``
(one per number), ``raw`` (``value``: shape) or ``other``. ``box`` is the number of the box that a task on another's
boxes looked at. ``points`` are keypoints or corners: x, y and what else a point has, points parted by semicolons.
"""


def table_rows(answers: Mapping[str, Answer]) -> Iterator[dict[str, Any]]:
    """Rows by :data:`COLUMNS`, without ``frame`` and ``file``; a detection without boxes gives none."""
    for task, answer in answers.items():
        yield from ({"task": task, **row} for row in _rows(answer))


def _rows(answer: Told) -> Iterator[dict[str, Any]]:
    match answer:
        case Detections():
            yield from (_box(answer, i) for i in range(len(answer)))
        case Classification():
            yield {"kind": "class", "label": answer.label, "index": answer.index, "score": round(answer.score, 6)}
        case MultiLabel():
            for i in range(len(answer)):
                name = answer.label(i) if answer.labels else None
                score = _short(answer.scores[i])
                yield {"kind": "label", "number": i, "label": name, "index": int(answer.classes[i]), "score": score}
        case ClassMap():
            numbers, counts = np.unique(answer.classes[answer.classes != NOT_SEEN], return_counts=True)
            for index, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                name = answer.labels[index] if 0 <= index < len(answer.labels) else None
                yield {"kind": "pixels", "label": name, "index": index, "value": count}
        case DenseMap():
            plain = answer.to_json()
            yield {"kind": "map", "value": " ".join(str(plain[key]) for key in ("least", "mean", "most"))}
        case Text():
            yield {"kind": "text", "value": answer.text, "score": _short(answer.score)}
        case Embedding():
            known = {} if answer.similarity is None else {"label": answer.name, "score": _short(answer.similarity)}
            yield {
                "kind": "embedding",
                **known,
                "value": "" if known else " ".join(map(_short, answer.vector.tolist())),
            }
        case Values():
            for i, value in enumerate(answer.values.reshape(-1).tolist()):
                yield {"kind": "value", "number": i, "value": value}
        case Raw():
            for i, output in enumerate(answer.outputs):
                yield {"kind": "raw", "number": i, "value": " x ".join(map(str, output.shape))}
        case PerBox():
            for number, inner in zip(answer.numbers, answer.answers, strict=True):
                yield from ({**row, "box": number} for row in _rows(inner))
        case _:
            yield {"kind": "other", "value": json.dumps(answer.to_json(), ensure_ascii=False)}


def _box(found: Detections, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "box", "number": number, "index": int(found.classes[number])}
    row["label"] = found.label(number) if found.labels else None
    row["score"] = _short(found.scores[number])
    row |= zip(("left", "top", "right", "bottom"), map(_short, found.boxes[number].tolist()), strict=True)
    if found.parents is not None:
        row["box"] = int(found.parents[number])
    if found.ids is not None and found.ids[number] >= 0:
        row["id"] = int(found.ids[number])
    points = found.keypoints if found.keypoints is not None else found.corners
    if points is not None:
        row["points"] = ";".join(" ".join(map(_short, point)) for point in points[number].tolist())
    return row


def _short(value: float) -> str:
    return f"{float(value):.4f}".rstrip("0").rstrip(".")
