"""Maps: a class per pixel, or a number per pixel, placed at the size of the frame.

"class-map": scores per class, (classes, rows, columns), of which the largest wins, before or after a softmax; one
channel is two classes, 1 above one half of probabilities or above 0 of raw scores; classes already chosen within the
network, (rows, columns) or one channel with more than two labels, or with whole numbers beyond 1 and no labels, are
taken as they are. (rows, columns, channels) is understood where only rows x columns have the form of the input.
"dense-map": depth, heights, flow, normals as they are. Where there are more outputs (training's auxiliary ones) the
first is read, or the one with the role ``map``. Sources: torchvision's segmentation models (scores at input size),
Ranftl et al., arXiv:1907.01341 (relative inverse depth, one number per pixel).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

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

CLASS_MAP_NAME = "class-map"


@dataclass(frozen=True)
class _Layout:
    """How an output is a map: channels x rows x columns, or, ``is_last``, rows x columns x channels."""

    channels: int
    rows: int
    columns: int
    is_last: bool = False

    def view(self, output: Float32Array) -> Float32Array:
        """(channels, rows, columns)."""
        if self.is_last:
            return output.transpose(2, 0, 1)
        return output.reshape(self.channels, self.rows, self.columns)


def _recognise(name: str, evidence: Evidence) -> AnswerFormat | str:
    if not evidence.named and name != CLASS_MAP_NAME:
        return "maps are read so where the user says so"
    layouts = [_layout(shape, evidence.size) for shape in evidence.shapes]
    fitting = [i for i, layout in enumerate(layouts) if layout is not None]
    if not fitting or (not evidence.named and (fitting != [*range(len(layouts))] or len(set(layouts)) > 1)):
        return f"output 0 is {size_text(evidence.shapes[0])} and has to be channels x rows x columns"
    first = layouts[fitting[0]]
    assert first is not None
    if not evidence.named and not _has_aspect((first.rows, first.columns), evidence.size):
        return f"a map of {first.rows} x {first.columns} has not the form of the input"
    if not evidence.named and evidence.labels and first.channels > 1 and first.channels != len(evidence.labels):
        return f"output 0 would hold {first.channels} classes, and {len(evidence.labels)} are known"
    return AnswerFormat(name, evidence.shapes, evidence.size, {"map": fitting[0]})


def _layout(shape: Shape, size: Sequence[int]) -> _Layout | None:
    """The axis that makes no picture in the form of the input holds the channels; it is the first in doubt."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        return None
    channels, rows, columns = (1, *shape) if len(shape) == 2 else shape
    if _has_aspect((channels, rows), size) and not _has_aspect((rows, columns), size):
        return _Layout(columns, channels, rows, True)
    return _Layout(channels, rows, columns) if min(rows, columns) > 1 else None


def _has_aspect(sides: tuple[int, int], size: Sequence[int]) -> bool:
    """Whether a picture of these sides is the input at another size, to a row; a single row or column is none."""
    return min(sides) > 1 and abs(sides[0] * size[1] - sides[1] * size[0]) <= size[1]


def _map_of(answer: AnswerFormat) -> tuple[int, _Layout]:
    number = answer.roles.get("map", 0)
    layout = _layout(answer.shapes[number], answer.size) if 0 <= number < len(answer.shapes) else None
    if layout is None:
        raise ConfigurationError(
            f"the map is said to be output {number}, which is no channels x rows x columns", "name another output"
        )
    return number, layout


def _class_map(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number, layout = _map_of(answer)
    size = (answer.size[0], answer.size[1])
    channels = layout.channels
    is_chosen = len(answer.shapes[number]) == 2 or (channels == 1 and len(labels) > 2)
    if not is_chosen:
        check_labels(labels, max(channels, 2), f"output {number}")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> ClassMap:
        values = layout.view(outputs[number])
        if is_chosen or (channels == 1 and not labels and _are_classes(values[0])):
            flat = np.nan_to_num(values[0], nan=0, posinf=0, neginf=0)
            return ClassMap(np.rint(np.clip(flat, 0, 2**24)).astype(np.int32), labels, size)
        if channels > 1:
            # A comparison with NaN is false: it never wins over a number.
            best, classes = np.full(values.shape[1:], -np.inf, np.float32), np.zeros(values.shape[1:], np.int32)
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


def _are_classes(values: Float32Array) -> bool:
    """Whether numbers of more than two classes were chosen within the network: scores are no whole numbers."""
    return bool(np.fmax.reduce(values, axis=None) >= 2 and ((values >= 0) & (np.rint(values) == values)).all())


def _dense_map(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number, layout = _map_of(answer)
    if labels:
        raise ConfigurationError("a dense map has numbers and no classes", "give no labels")
    size = (answer.size[0], answer.size[1])

    def decode(outputs: Sequence[Float32Array]) -> DenseMap:
        return DenseMap(np.array(layout.view(outputs[number]), np.float32, order="C"), size)

    return decode


CLASS_MAP = Family(
    CLASS_MAP_NAME,
    "segmentation at the size of the frame: scores per class, or classes, for each pixel",
    ("segmentation",),
    functools.partial(_recognise, CLASS_MAP_NAME),
    _class_map,
    certain=False,
)
DENSE_MAP = Family(
    "dense-map",
    "depth and other numbers for each pixel, at the size of the frame",
    ("regression", "other"),
    functools.partial(_recognise, "dense-map"),
    _dense_map,
)
