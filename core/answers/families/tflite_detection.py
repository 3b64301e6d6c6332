"""TFLite's detector after its own suppression: boxes, classes, scores, count.

The custom operator TFLite_Detection_PostProcess, whose boxes are top, left, bottom, right as shares of the input, and
the outputs of TensorFlow's saved models of that kind. Outputs are told by their names where those speak
("detection_boxes", "num_detections"), else by their order: boxes, classes, scores, count, as the operator and
TensorFlow 1 give them, or scores, boxes, count, classes, as TensorFlow 2 does. Classes count from 0 without a
background. Source: tensorflow/tensorflow lite/kernels/detection_postprocess.cc; tensorflow/models
research/object_detection/exporter_lib_tf2 and its guide "Running TF2 Detection API Models on mobile".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import in_pixels
from multigraft.answers.decoding.hints import output_named, size_text
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

ROLES = ("boxes", "classes", "scores", "count")
_NAMES = {
    "boxes": r"boxes",
    "classes": r"classes",
    "scores": r"(?<!multiclass_)(?<!class_)scores",
    "count": r"^num|:num|count",
}
_ORDERS = {0: ("boxes", "classes", "scores", "count"), 1: ("scores", "boxes", "count", "classes")}
"""By the number of the output that holds the boxes."""


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    roles = _by_name(evidence) or _by_order(evidence)
    if roles is None:
        return (
            f"outputs are {', '.join(size_text(s) or '1' for s in evidence.shapes)}, and have to be "
            "n x 4 boxes, n classes, n scores and their number, in one of the orders that TensorFlow has"
        )
    return AnswerFormat("tflite-detection", evidence.shapes, evidence.size, roles, normalised=True, boxes="y_first")


def _by_name(evidence: Evidence) -> dict[str, int] | None:
    found = {role: output_named(evidence, pattern) for role, pattern in _NAMES.items()}
    roles = {role: number for role, number in found.items() if number is not None}
    return roles if len(set(roles.values())) == len(ROLES) and _fit(evidence.shapes, roles) else None


def _by_order(evidence: Evidence) -> dict[str, int] | None:
    if len(evidence.shapes) != len(ROLES):
        return None
    for order in _ORDERS.values():
        roles = {role: number for number, role in enumerate(order)}
        if _fit(evidence.shapes, roles):
            return roles
    return None


def _fit(shapes: Sequence[Shape], roles: dict[str, int]) -> bool:
    boxes = shapes[roles["boxes"]]
    if len(boxes) != 2 or boxes[1] != 4:
        return False
    same = all(shapes[roles[role]] == boxes[:1] for role in ("classes", "scores"))
    return same and shapes[roles["count"]] in ((), (1,))


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    roles = answer.roles
    for role in ROLES:
        if not 0 <= roles.get(role, -1) < len(answer.shapes):
            raise ConfigurationError(f"no output is said to hold the {role}", "name all four in the roles")
    if not _fit(answer.shapes, roles):
        raise ConfigurationError("boxes, classes, scores and count do not fit each other", "correct the roles")
    size = answer.shapes[roles["boxes"]][0]

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        boxes, told, scores = (outputs[roles[role]] for role in ("boxes", "classes", "scores"))
        filled = float(outputs[roles["count"]].reshape(-1)[0])
        some = np.arange(size) < filled
        some &= (scores >= answer.score_threshold) & (told > -0.5) & (told < 2**24)
        kept = np.flatnonzero(some)
        corners = in_pixels(boxes[kept][:, [1, 0, 3, 2]], answer)
        classes = np.rint(told[kept]).astype(np.int32)
        return Detections(corners, scores[kept].astype(np.float32), classes, labels).best(answer.most)

    return decode


TFLITE_DETECTION = Family(
    "tflite-detection",
    "TFLite's SSD and EfficientDet after their own suppression: boxes, classes, scores, count",
    ("detection",),
    _recognise,
    _decoder,
)
