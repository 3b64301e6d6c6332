"""SSD: boxes relative to anchors, and a score per class of which the first is the background.

"ssd": as torchvision trains it: x before y, variances 0.1 and 0.2, scores before or after a softmax
(pytorch/vision torchvision/models/detection/ssd.py, ssdlite.py, anchor_utils.py, _utils.py). "ssd-tf": as TensorFlow's
object detection trains it: y before x, each class for itself, before or after a sigmoid (tensorflow/models
research/object_detection, box_coders/faster_rcnn_box_coder.py, anchor_generators/multiple_grid_anchor_generator.py).
"ssd-decoded": boxes are left, top, right, bottom already (qfgaohao/pytorch-ssd, what jetson-inference runs, and
Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB).

Anchors are known for torchvision's SSD300 and SSDLite320 and for TensorFlow's SSD MobileNet; others come from an
output with the role ``anchors`` (n x 4: centre x, centre y, width, height, pixels or, ``normalised``, shares of the
input), or from ``strides`` and ``anchors`` of the settings: per level, width and height of each anchor of a cell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import in_pixels
from multigraft.answers.decoding.hints import output_named, size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import grid_of
from multigraft.answers.decoding.selection import best_per_class, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.anchors import anchors_of, corners_of_deltas
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

TORCHVISION, TENSORFLOW, DECODED = "ssd", "ssd-tf", "ssd-decoded"
_FEWEST = 400
"""Boxes below which a network is not taken for an SSD unless it is named: queries of transformers are fewer."""


def _recognise(name: str, evidence: Evidence) -> AnswerFormat | str:
    at_anchors = output_named(evidence, r"anchor|prior")
    boxes = [i for i, shape in enumerate(evidence.shapes) if len(shape) == 2 and shape[1] == 4 and i != at_anchors]
    pairs = [
        (b, s)
        for b in boxes
        for s, shape in enumerate(evidence.shapes)
        if s not in (b, at_anchors) and len(shape) == 2 and shape[1] >= 2 and shape[0] == evidence.shapes[b][0]
    ]
    # Three classes and a background are 4 numbers as well: then only names tell.
    pairs = [p for p in pairs if _named_so(evidence, p)] or pairs
    if not pairs:
        return "no output has 4 numbers per box beside one with scores of two or more classes"
    at_boxes, at_scores = pairs[0]
    roles = {"boxes": at_boxes, "scores": at_scores}
    count, classes = evidence.shapes[at_scores]
    if at_anchors is not None and evidence.shapes[at_anchors] == (count, 4):
        roles["anchors"] = at_anchors
    labels = len(evidence.labels)
    if not evidence.named:
        if len(evidence.shapes) != len(roles) or len(pairs) != 1:
            return "there are more outputs than boxes and scores"
        if count < _FEWEST:
            return f"{count} boxes are too few"
        if labels and labels not in (classes, classes - 1):
            return f"output {at_scores} would hold {classes} classes and a background, and {labels} are known"
        if name == DECODED and not _named_so(evidence, pairs[0]):
            return "no output is named boxes or scores"
        has_anchors = "anchors" in roles or known_anchors(name == TENSORFLOW, evidence.size, count) is not None
        if name != DECODED and not has_anchors:
            return f"no known set of anchors has {count} for an input of this size"
        if name != DECODED and _named_so(evidence, pairs[0]):
            return "outputs named boxes and scores hold decoded boxes"
    return AnswerFormat(
        name,
        evidence.shapes,
        evidence.size,
        roles,
        normalised=name == DECODED,
        boxes="y_first" if name == TENSORFLOW else "corners",
    )


def _named_so(evidence: Evidence, pair: tuple[int, int]) -> bool:
    return "box" in evidence.names[pair[0]].lower() and "score" in evidence.names[pair[1]].lower()


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    at_boxes, at_scores = _outputs(answer)
    count, classes = answer.shapes[at_scores]
    if len(labels) == classes:
        labels = labels[1:]
    check_labels(labels, classes - 1, f"output {at_scores} (beside the background)")
    fixed = None if answer.family == DECODED or "anchors" in answer.roles else anchors_of_format(answer, count)
    sides = np.array([answer.size[1], answer.size[0]] * 2, np.float32)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        likely = _probabilities(outputs[at_scores], answer)
        kept, scores, chosen = best_per_class(likely[:, 1:], answer.score_threshold)
        boxes = outputs[at_boxes][kept]
        if answer.family == DECODED:
            boxes = in_pixels(boxes, answer)
        else:
            if answer.family == TENSORFLOW:
                boxes = boxes[:, [1, 0, 3, 2]]
            if fixed is None:
                anchors = outputs[answer.roles["anchors"]][kept]
                boxes = corners_of_deltas(boxes, anchors * sides if answer.normalised else anchors)
            else:
                boxes = corners_of_deltas(boxes, fixed[kept])
        if answer.family == TORCHVISION:
            # Cut off before boxes are compared, as in its training's evaluation.
            boxes = np.clip(boxes, 0, sides)
        return Detections(boxes, scores, chosen, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


def _outputs(answer: AnswerFormat) -> tuple[int, int]:
    numbers = [answer.roles.get(role, -1) for role in ("boxes", "scores")]
    for role, number in zip(("boxes", "scores"), numbers, strict=True):
        if not 0 <= number < len(answer.shapes) or len(answer.shapes[number]) != 2:
            raise ConfigurationError(f"output {number} holds no {role}", "name another output in the roles")
    boxes, scores = (answer.shapes[number] for number in numbers)
    if boxes != (scores[0], 4) or scores[1] < 2:
        raise ConfigurationError(
            f"boxes are {size_text(boxes)} and scores {size_text(scores)}, in place of n x 4 and n x classes",
            "name other outputs in the roles",
        )
    return numbers[0], numbers[1]


def _probabilities(values: Float32Array, answer: AnswerFormat) -> Float32Array:
    """Scores of all classes, the background first, as probabilities."""
    said = answer.scores
    lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if said == "probabilities" or (not said and lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        return values
    if answer.family == TENSORFLOW:
        return sigmoid(values)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Float32Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


_ROUNDING = 0.01
"""Probabilities in 8 bits may end a step beside 0 and 1."""


def anchors_of_format(answer: AnswerFormat, count: int) -> Float32Array:
    """(count, 4) centre x, centre y, width, height of the anchors that a format names or is known by, pixels.

    Raises:
        ConfigurationError: There is no such set.
    """
    if not answer.anchors:
        known = known_anchors(answer.family == TENSORFLOW, (answer.size[0], answer.size[1]), count)
        if known is None:
            raise ConfigurationError(
                f"no known set of anchors has {count} for an input of {size_text(answer.size)}",
                "give strides and anchors, or the role anchors",
            )
        return known
    if len(answer.anchors) != len(answer.strides):
        raise ConfigurationError(
            f"there are anchors for {len(answer.anchors)} levels and strides for {len(answer.strides)}",
            "give one list of anchors per stride",
        )
    if any(len(level) % 2 for level in answer.anchors):
        raise ConfigurationError("an anchor has a width and no height", "give two numbers per anchor")
    grids = [grid_of(answer.size, stride) for stride in answer.strides]
    sides = [np.array(level, np.float32).reshape(-1, 2) for level in answer.anchors]
    made = anchors_of(grids, [(float(s), float(s)) for s in answer.strides], sides)
    if len(made) != count:
        raise ConfigurationError(
            f"strides and anchors make {len(made)} anchors, and there are {count} boxes", "correct strides or anchors"
        )
    return made


def known_anchors(is_tensorflow: bool, size: tuple[int, int], count: int) -> Float32Array | None:
    """The set of anchors that has ``count`` for an input of that size; None where there is none."""
    made = (_tensorflow(size),) if is_tensorflow else (_ssd300(size), _ssdlite(size))
    return next((anchors for anchors in made if anchors is not None and len(anchors) == count), None)


def _tensorflow(size: tuple[int, int]) -> Float32Array:
    """SSD MobileNet: six levels from stride 16, scales 0.2 to 0.95, the first level with three anchors."""
    scales = [0.2 + 0.75 * k / 5 for k in range(6)] + [1.0]
    sides = []
    for k in range(6):
        pairs = [(scales[k], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
        pairs.append((math.sqrt(scales[k] * scales[k + 1]), 1.0))
        if k == 0:
            pairs = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        sides.append([(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for scale, ratio in pairs])
    return _spread(size, sides)


def _ssdlite(size: tuple[int, int]) -> Float32Array:
    """torchvision's SSDLite320 MobileNetV3: six levels from stride 16, scales 0.2 to 0.95, six anchors each."""
    scales = [0.2 + 0.75 * k / 5 for k in range(6)] + [1.0]
    return _spread(size, [_torchvision_sides(scales[k], scales[k + 1], (2, 3)) for k in range(6)])


def _ssd300(size: tuple[int, int]) -> Float32Array | None:
    """torchvision's SSD300 VGG16, whose steps do not follow from its grids."""
    if size != (300, 300):
        return None
    scales = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    sides = [
        np.array(_torchvision_sides(scales[k], scales[k + 1], ratios[k]), np.float32) * np.float32(300)
        for k in range(6)
    ]
    grids = [(n, n) for n in (38, 19, 10, 5, 3, 1)]
    return anchors_of(grids, [(float(s), float(s)) for s in (8, 16, 32, 64, 100, 300)], sides)


def _torchvision_sides(scale: float, next_scale: float, ratios: Sequence[int]) -> list[tuple[float, float]]:
    """Shares of the input, at most 1."""
    between = math.sqrt(scale * next_scale)
    pairs = [(scale, scale), (between, between)]
    for ratio in ratios:
        wide, narrow = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        pairs += [(wide, narrow), (narrow, wide)]
    return [(min(width, 1.0), min(height, 1.0)) for width, height in pairs]


def _spread(size: tuple[int, int], sides: Sequence[Sequence[tuple[float, float]]]) -> Float32Array:
    """Anchors of levels from stride 16 on, each half as fine as the one before; sides are shares of the input."""
    grids = [grid_of(size, 16 << k) for k in range(len(sides))]
    steps = [(size[0] / rows, size[1] / columns) for rows, columns in grids]
    whole = np.array([size[1], size[0]], np.float32)
    return anchors_of(grids, steps, [np.array(level, np.float32) * whole for level in sides])


SSD = Family(
    TORCHVISION,
    "torchvision's SSD: boxes relative to anchors, scores of classes after a background, before NMS",
    ("detection",),
    functools.partial(_recognise, TORCHVISION),
    _decoder,
)
SSD_TF = Family(
    TENSORFLOW,
    "TensorFlow's SSD before its post-processing: boxes relative to anchors, y first, each class for itself",
    ("detection",),
    functools.partial(_recognise, TENSORFLOW),
    _decoder,
)
SSD_DECODED = Family(
    DECODED,
    "SSD with boxes decoded to shares of the input, scores of classes after a background (jetson-inference)",
    ("detection",),
    functools.partial(_recognise, DECODED),
    _decoder,
)
