"""nudenet as judge: YOLOv8n on whole photographs, padded to a square at the right or below."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.answers.matching import matches
from multigraft.runtime.result import Result
from multigraft.tensors.arrays import Array
from tests.benchmarks.judges import Count, read_pictures

IOU = 0.9

_SETTINGS = """
frames = "fit"
[bundle]
name = "parts"
[budget]
min_agreement = 0.9
[convert]
precision = "{precision}"
[[task]]
name = "parts"
model = {model}
kind = "detection"
labels = {labels}
tolerance = 0.9
preprocessing = {{ size = [320, 320], color = "bgr", resize = "corner" }}
answer = {{ format = "yolov8", score_threshold = 0.25, iou_threshold = 0.45 }}
"""


class NudeNet:
    """Its answers are boxes of whole pixels: what is left of them is cut off, and ours are cut alike."""

    packages: tuple[str, ...] = ("nudenet", "cv2", "onnxruntime")

    def pictures(self, fit: Path | None, judged: Path | None) -> tuple[Path | list[Array], list[Array]]:
        read_pictures(fit)
        assert fit is not None
        return fit, read_pictures(judged)

    def prepare(self, folder: Path) -> None:
        """Nothing."""

    def settings(self, precision: str) -> str:
        import nudenet

        model = Path(nudenet.__file__).parent / "320n.onnx"
        return _SETTINGS.format(precision=precision, model=json.dumps(str(model)), labels=json.dumps(_labels()))

    def theirs(self, pictures: Sequence[Array]) -> list[Any]:
        from nudenet import NudeDetector

        detector = NudeDetector()
        return [detector.detect(np.ascontiguousarray(picture[:, :, ::-1])) for picture in pictures]

    def counts(self, theirs: Sequence[Any], ours: Sequence[Result]) -> list[Count]:
        right, whole, total, more = 0, 0, 0, 0
        for said, result in zip(theirs, ours, strict=True):
            wanted, found = _boxes(said), result.answers["parts"]
            assert isinstance(found, Detections)
            total += len(wanted)
            whole += len(matches(wanted, found, IOU))
            hits = len(matches(wanted, _cut(found), IOU))
            right += hits
            more += len(found) - hits
        return [
            Count(f"boxes, same class, IoU {IOU:g}, in whole pixels", right, total),
            Count("the same, ours with fractions", whole, total),
            Count("ours that are none of its own (of all of ours)", more, right + more),
        ]


def _labels() -> list[str]:
    from nudenet import nudenet

    return list(vars(nudenet)["__labels"])


def _boxes(said: Sequence[dict[str, Any]]) -> Detections:
    boxes = np.array([one["box"] for one in said], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([_labels().index(one["class"]) for one in said], np.int32)
    return Detections(boxes, np.array([one["score"] for one in said], np.float32), classes)


def _cut(found: Detections) -> Detections:
    boxes = np.floor(found.boxes)
    boxes[:, 2:] = boxes[:, :2] + np.floor(found.boxes[:, 2:] - found.boxes[:, :2])
    return Detections(boxes, found.scores, found.classes)
