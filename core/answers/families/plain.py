"""An own format: a table says which output holds boxes, scores, classes, keypoints.

For networks that decode, and mostly suppress, by themselves (``roles`` in the settings; without them names of outputs
such as "boxes", "scores", "labels" are understood). Boxes are (n, 4) or (4, n), or (n, 5) with the score last; scores
(n,), or per class (n, classes) or (classes, n), in which case overlapping ones are suppressed here; classes (n,);
keypoints (n, k, 2 or 3) or flat; count is one number, how many of the n are filled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels, points_in_pixels
from multigraft.answers.decoding.hints import output_named, size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import are_logits, best_per_class, sigmoid
from multigraft.answers.decoding.skeleton import edges_of, pairs_of
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

ROLES = ("boxes", "scores", "classes", "keypoints", "count")
FORMS = ("corners", "centres", "sizes", "y_first")
_NAMES = {
    "boxes": r"box|dets",
    "scores": r"score|conf|prob",
    "classes": r"class|label",
    "keypoints": r"keypoint|kpt|landmark",
    "count": r"^num|count",
}


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if not evidence.named:
        return "a plain format is one that the user names"
    roles: dict[str, int] = {}
    for role, pattern in _NAMES.items():
        number = output_named(evidence, pattern)
        if number is not None and number not in roles.values():
            roles[role] = number
    return AnswerFormat("plain", evidence.shapes, evidence.size, roles)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    roles = _checked_roles(answer)
    count = count_of_boxes(answer)
    has_last = "scores" not in roles
    per_class = 0 if has_last else _per_class(answer.shapes[roles["scores"]], count)
    if "classes" in roles and per_class > 1:
        raise ConfigurationError(
            f"output {roles['scores']} holds {per_class} scores per box, and output {roles['classes']} its class",
            "leave one of them out",
        )
    if per_class > 1:
        check_labels(labels, per_class, f"output {roles['scores']}")
    if "classes" in roles and int(np.prod(answer.shapes[roles["classes"]])) != count:
        raise ConfigurationError(
            f"classes are {size_text(answer.shapes[roles['classes']])}, and there are {count} boxes",
            "name the output of their classes",
        )
    if "count" in roles and int(np.prod(answer.shapes[roles["count"]])) != 1:
        raise ConfigurationError(f"output {roles['count']} is not one number", "name the output of the count")
    keypoints, each = _keypoints(answer, count)
    edges = pairs_of(answer.edges or edges_of(keypoints))

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        boxes = _rows(outputs[roles["boxes"]], count)
        likely = boxes[:, 4:5] if has_last else _rows(outputs[roles["scores"]], count)
        least = answer.score_threshold
        if are_logits(likely, answer.scores):
            likely = sigmoid(likely)
        kept, scores, classes = best_per_class(likely, least)
        if "count" in roles:
            filled = outputs[roles["count"]].reshape(-1)[0]
            some = kept < filled
            kept, scores, classes = kept[some], scores[some], classes[some]
        if "classes" in roles:
            told = outputs[roles["classes"]].reshape(-1)[kept]
            some = (told > -0.5) & (told < 2**30)
            kept, scores, classes = kept[some], scores[some], np.rint(told[some]).astype(np.int32)
        found = Detections(
            in_pixels(_corners(boxes[kept, :4], answer.boxes), answer),
            scores,
            classes,
            labels,
            _points(outputs[roles["keypoints"]], count, each, kept, answer) if "keypoints" in roles else None,
            edges,
        )
        return found.suppressed(answer.iou_threshold, answer.most) if per_class > 1 else found.best(answer.most)

    return decode


def _checked_roles(answer: AnswerFormat) -> dict[str, int]:
    for role in answer.roles:
        if role not in ROLES:
            raise ConfigurationError(f"there is no role {role!r}", f"choose from: {', '.join(ROLES)}")
    if "boxes" not in answer.roles:
        raise ConfigurationError("a plain format does not say which output holds the boxes", "add it to its roles")
    if answer.boxes not in FORMS:
        raise ConfigurationError(f"there is no form of boxes {answer.boxes!r}", f"choose from: {', '.join(FORMS)}")
    return answer.roles


def count_of_boxes(answer: AnswerFormat) -> int:
    """Rows that the boxes of a plain format have.

    Raises:
        ConfigurationError: The output of that role holds no boxes.
    """
    shape = answer.shapes[answer.roles["boxes"]]
    numbers = (4,) if "scores" in answer.roles else (5,)
    match _squeezed(shape):
        case (count, 4 | 5 as columns) if count and (columns in numbers or columns == 5):
            return count
        case (4 | 5 as rows, count) if count and rows in numbers:
            return count
    wanted = " or ".join(f"n x {n}" for n in numbers)
    raise ConfigurationError(
        f"output {answer.roles['boxes']} is {size_text(shape)}, and boxes are {wanted}",
        "name the output of the boxes, and one of the scores",
    )


def _per_class(shape: Shape, count: int) -> int:
    size = int(np.prod(shape))
    if size % count:
        raise ConfigurationError(
            f"scores are {size_text(shape)}, and there are {count} boxes", "name the output of their scores"
        )
    return size // count


def _keypoints(answer: AnswerFormat, count: int) -> tuple[int, int]:
    """Number of keypoints and numbers of each."""
    if "keypoints" not in answer.roles:
        return 0, 0
    shape = _squeezed(answer.shapes[answer.roles["keypoints"]])
    fitting: list[int] = []
    if shape[0] == count and len(shape) == 3:
        fitting = [n for n in (2, 3) if shape[2] == n]
    elif shape[0] == count and len(shape) == 2:
        fitting = [n for n in (2, 3) if shape[1] % n == 0 and answer.keypoints in (0, shape[1] // n)]
    if len(fitting) != 1:
        raise ConfigurationError(
            f"output {answer.roles['keypoints']} is {size_text(shape)}, which does not tell x, y from x, y, confidence",
            "say how many keypoints there are",
        )
    return int(np.prod(shape[1:])) // fitting[0], fitting[0]


def _points(
    output: Float32Array, count: int, each: int, kept: np.typing.NDArray[np.intp], answer: AnswerFormat
) -> Float32Array:
    points = output.reshape(count, -1, each)[kept].copy()
    if each == 2:
        points = np.concatenate([points, np.ones_like(points[:, :, :1])], axis=2)
    if answer.boxes == "y_first":
        points = points[:, :, [1, 0, 2]]
    return points_in_pixels(points, answer)


def _corners(boxes: Float32Array, form: str) -> Float32Array:
    if form == "centres":
        return corners_of_centres(boxes)
    if form == "sizes":
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    if form == "y_first":
        return boxes[:, [1, 0, 3, 2]]
    return boxes.copy()


def _rows(output: Float32Array, count: int) -> Float32Array:
    """(count, numbers), whichever axis comes first."""
    squeezed = output.reshape(_squeezed(output.shape))
    if squeezed.ndim == 1:
        return squeezed.reshape(count, -1)
    return squeezed if squeezed.shape[0] == count else squeezed.T


def _squeezed(shape: Shape) -> Shape:
    """Without leading axes of 1 beyond two."""
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


PLAIN = Family(
    "plain",
    "an own format: roles name the outputs of boxes, scores, classes, keypoints, count",
    ("detection",),
    _recognise,
    _decoder,
)
