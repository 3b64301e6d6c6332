"""Mean average precision by pycocotools, the reference implementation of COCO's own figures."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from multigraft.answers.categories import category_of, no_class_of
from multigraft.answers.detections import Detections
from multigraft.converters.evaluation.coco_labels import CocoLabels
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair


@dataclass(frozen=True)
class DetectionFigures:
    """Average precision of boxes.

    Attributes:
        map: Mean over IoU 0.50 to 0.95 in steps of 0.05, over classes (COCO's primary figure).
        map50: At IoU 0.50 (that of PASCAL VOC).
        map75: At IoU 0.75.
        images: Pictures it was measured on.
        boxes: Labelled boxes on them.
    """

    map: float
    map50: float
    map75: float
    images: int
    boxes: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def coco() -> Any:
    """pycocotools.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        from pycocotools import coco as loaded
    except Exception as error:
        raise MissingDependencyError(
            f"mean average precision needs pycocotools, which is {how_missing(error)}",
            repair(error, install_extra("eval")),
        ) from error
    return loaded


def detection_figures(
    labels: CocoLabels, found: Mapping[int, Detections], names: tuple[str, ...], category_ids: tuple[int, ...] = ()
) -> DetectionFigures:
    """How well boxes fit the labels.

    Args:
        labels: What is right.
        found: ``image_id`` to boxes in pixels of the picture.
        names: The task's labels.
        category_ids: What the task's settings number its classes; empty where they say nothing.

    Raises:
        InputError: None of the task's classes is a category of the file.
        MissingDependencyError: pycocotools is not installed.
    """
    loaded = coco()
    from pycocotools.cocoeval import COCOeval

    def category(number: int) -> int | None:
        return category_of(number, names, category_ids, labels.categories)

    shared = {category(n) for n in range(len(names) or len(category_ids) or len(labels.categories))} - {None}
    if not shared:
        raise no_class_of(labels.path, names, category_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = loaded.COCO()
        truth.dataset = labels.content
        truth.createIndex()
        records = list(_records(category, found))
        if not records:
            return DetectionFigures(0.0, 0.0, 0.0, len(labels.images), _boxes(labels, shared))
        judged = COCOeval(truth, truth.loadRes(records), "bbox")
        judged.params.catIds = sorted(shared)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    whole, half, strict = (max(0.0, float(judged.stats[i])) for i in range(3))
    return DetectionFigures(whole, half, strict, len(labels.images), _boxes(labels, shared))


def _boxes(labels: CocoLabels, categories: set[int | None]) -> int:
    return sum(int(note["category_id"]) in categories for note in labels.content["annotations"])


def _records(category: Callable[[int], int | None], found: Mapping[int, Detections]) -> Iterable[dict[str, Any]]:
    for image, detections in found.items():
        for i in range(len(detections)):
            known = category(int(detections.classes[i]))
            if known is not None:
                left, top, right, bottom = map(float, detections.boxes[i])
                box = [left, top, right - left, bottom - top]
                score = float(detections.scores[i])
                yield {"image_id": image, "category_id": known, "bbox": box, "score": score}
