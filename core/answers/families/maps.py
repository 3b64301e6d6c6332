"""Maps: a class per pixel, or a number per pixel, placed at the size of the frame.

"class-map": scores per class, (classes, rows, columns), of which the largest wins, before or after a softmax; one
channel is two classes, 1 above one half of probabilities or above 0 of raw scores; classes already chosen within the
network, (rows, columns) or one channel with more than two labels, are taken as they are. "dense-map": depth, heights,
flow, normals as they are. Where there are more outputs (training's auxiliary ones) the first is read, or the one with
the role ``map``. Sources: torchvision's segmentation models (scores at input size), Ranftl et al., arXiv:1907.01341
(relative inverse depth, one number per pixel).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.class_map import ClassMap
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import logit
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array


def _recognise(name: str, evidence: Evidence) -> AnswerFormat | str:
    if not evidence.named:
        return "maps are read so where the user says so"
    fitting = [i for i, shape in enumerate(evidence.shapes) if _is_map(shape)]
    if not fitting:
        return f"output 0 is {size_text(evidence.shapes[0])} and has to be channels x rows x columns"
    return AnswerFormat(name, evidence.shapes, evidence.size, {"map": fitting[0]})


def _is_map(shape: Shape) -> bool:
    return len(shape) in (2, 3) and min(shape) > 0 and min(shape[-2:]) > 1


def _map_of(answer: AnswerFormat) -> tuple[int, Shape]:
    number = answer.roles.get("map", 0)
    if not 0 <= number < len(answer.shapes) or not _is_map(answer.shapes[number]):
        raise ConfigurationError(
            f"the map is said to be output {number}, which is no channels x rows x columns", "name another output"
        )
    return number, answer.shapes[number]


def _class_map(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number, shape = _map_of(answer)
    size = (answer.size[0], answer.size[1])
    channels = shape[0] if len(shape) == 3 else 1
    is_chosen = len(shape) == 2 or (channels == 1 and len(labels) > 2)
    if not is_chosen:
        check_labels(labels, max(channels, 2), f"output {number}")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> ClassMap:
        values = outputs[number]
        if is_chosen:
            flat = np.nan_to_num(values.reshape(shape[-2:]), nan=0, posinf=0, neginf=0)
            return ClassMap(np.rint(np.clip(flat, 0, 2**24)).astype(np.int32), labels, size)
        if channels > 1:
            # A comparison with NaN is false: it never wins over a number.
            best, classes = np.full(shape[1:], -np.inf, np.float32), np.zeros(shape[1:], np.int32)
            for i, channel in enumerate(values):
                better = channel > best
                best[better] = channel[better]
                classes[better] = i
            return ClassMap(classes, labels, size)
        one = values[0]
        if answer.scores:
            least = 0.5 if answer.scores == "probabilities" else logit(0.5)
        else:
            least = 0.5 if np.fmin.reduce(one, axis=None) >= 0 and np.fmax.reduce(one, axis=None) <= 1 else 0.0
        return ClassMap((one > least).astype(np.int32), labels, size)

    return decode


def _dense_map(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number, shape = _map_of(answer)
    if labels:
        raise ConfigurationError("a dense map has numbers and no classes", "give no labels")
    channels = shape if len(shape) == 3 else (1, *shape)
    size = (answer.size[0], answer.size[1])

    def decode(outputs: Sequence[Float32Array]) -> DenseMap:
        return DenseMap(np.array(outputs[number], np.float32).reshape(channels), size)

    return decode


CLASS_MAP = Family(
    "class-map",
    "segmentation at the size of the frame: scores per class, or classes, for each pixel",
    ("segmentation",),
    functools.partial(_recognise, "class-map"),
    _class_map,
)
DENSE_MAP = Family(
    "dense-map",
    "depth and other numbers for each pixel, at the size of the frame",
    ("regression", "other"),
    functools.partial(_recognise, "dense-map"),
    _dense_map,
)
