"""From a network's output tensors to what a task means, by its kind."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.class_map import ClassMap
from multigraft.answers.families.table import decoder_of
from multigraft.answers.family import Decoded, channels_first
from multigraft.answers.own_format import OwnFormat
from multigraft.answers.per_box import PerBox
from multigraft.bundle.manifest import Task
from multigraft.errors import BundleError, ConfigurationError
from multigraft.tensors.arrays import Array, Float32Array, Float64Array
from multigraft.tensors.joining import joined_outputs
from multigraft.tensors.quantisation import INTEGERS, dequantise
from multigraft.tensors.specs import TensorSpec


class Classification:
    """The class with the largest output; the first one of equals.

    Args:
        label: Its name; None without labels.
        index: Its number.
        score: Its probability, or what computes it.
    """

    __slots__ = ("_score", "index", "label")

    def __init__(self, label: str | None, index: int, score: float | Callable[[], float]) -> None:
        self.label = label
        self.index = index
        self._score = score

    @property
    def score(self) -> float:
        """Probability of the class, computed when first read.

        The output itself where the outputs are probabilities already (they add up to 1; an integer tensor in the
        quantisation that TFLite fixes for SOFTMAX, scale 1/256), otherwise their softmax; of a single output its
        logistic function, with class 1 from one half on.
        """
        if not isinstance(self._score, float):
            self._score = self._score()
        return self._score

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "index": self.index, "score": round(self.score, 6)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Classification):
            return NotImplemented
        return (self.label, self.index, self.score) == (other.label, other.index, other.score)

    def __hash__(self) -> int:
        return hash((self.label, self.index, self.score))

    def __repr__(self) -> str:
        return f"Classification(label={self.label!r}, index={self.index}, score={self.score!r})"

    def __reduce__(self) -> tuple[type, tuple[str | None, int, float]]:
        return Classification, (self.label, self.index, self.score)


@dataclass(frozen=True, slots=True)
class Values:
    """Real numbers of a regression or of landmarks: float32, the output's shape without the batch axis."""

    values: Float32Array

    def to_json(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}


@dataclass(frozen=True, slots=True)
class Raw:
    """All outputs of a task as real numbers: float32, without the batch axis, in the order of the original network."""

    outputs: tuple[Float32Array, ...]

    def to_json(self) -> dict[str, Any]:
        return {"outputs": [output.tolist() for output in self.outputs]}


Answer = Classification | Values | ClassMap | Raw | Decoded | PerBox

MAX_LISTED_CLASSES = 64
"""Up to so many classes a list beats numpy's fixed cost per call."""


def make_decoder(
    task: Task, tensors: Sequence[TensorSpec], arrays: Sequence[Array], own: OwnFormat | None = None
) -> Callable[[], Answer]:
    """A function that reads the answer out of the output arrays as they are when it is called.

    Args:
        task: The task, whose kind and labels decide.
        tensors: What its outputs are.
        arrays: Where its outputs lie, in the same order; held on to.
        own: The user's function that decodes; None for what the task says.

    Raises:
        BundleError: The number of labels does not fit the output, or there is no output.
    """
    if not tensors:
        raise BundleError(f"task {task.name} has no output", "build the bundle again")
    if own is not None:
        return _of_own(task, own, tensors, arrays)
    if task.answer is not None:
        return _decoded(task, task.answer, tensors, arrays)
    if task.kind == "classification":
        return _classification(task, tensors[0], arrays[0])
    if task.joined:
        return _of_joined(task, tensors, arrays)
    if task.kind in ("regression", "landmarks") and len(arrays) == 1:
        spec, array = tensors[0], arrays[0]
        return lambda: Values(dequantise(array[0], spec))
    if task.kind == "segmentation":
        return _class_map(task, tensors[0], arrays[0])
    pairs = tuple(zip(arrays, tensors, strict=True))
    return lambda: Raw(tuple(dequantise(array[0], spec) for array, spec in pairs))


def _decoded(
    task: Task, answer: AnswerFormat, tensors: Sequence[TensorSpec], arrays: Sequence[Array]
) -> Callable[[], Decoded]:
    """An answer in pixels of the network input."""
    try:
        decode = decoder_of(answer, task.labels)
    except ConfigurationError as error:
        raise BundleError(f"task {task.name}: {error.problem}", error.remedy) from error
    outputs = _original_outputs(task, tensors, arrays)
    shapes = [output.shape for output in outputs()]
    if shapes != list(answer.shapes):
        raise BundleError(
            f"task {task.name} is decoded from outputs of shapes {list(answer.shapes)}, and they are {shapes}",
            "build the bundle again",
        )
    return lambda: decode(outputs())


def _of_own(
    task: Task, own: OwnFormat, tensors: Sequence[TensorSpec], arrays: Sequence[Array]
) -> Callable[[], Decoded]:
    decode, outputs = own.decoder(task.labels), _original_outputs(task, tensors, arrays)
    return lambda: decode(outputs())


def _original_outputs(
    task: Task, tensors: Sequence[TensorSpec], arrays: Sequence[Array]
) -> Callable[[], list[Float32Array]]:
    """What gives the outputs in the original network's layout, without the batch axis."""
    pairs = tuple(zip(arrays, tensors, strict=True))

    def outputs() -> list[Float32Array]:
        if task.joined:
            return [channels_first(output[0]) for output in joined_outputs(task.joined, tensors, arrays)]
        return [channels_first(dequantise(array[0], spec)) for array, spec in pairs]

    return outputs


def _of_joined(task: Task, tensors: Sequence[TensorSpec], arrays: Sequence[Array]) -> Callable[[], Values | Raw]:
    """Of outputs that were parted, as the network gave them."""

    def outputs() -> tuple[Float32Array, ...]:
        return tuple(output[0] for output in joined_outputs(task.joined, tensors, arrays))

    if task.kind in ("regression", "landmarks") and len(task.joined) == 1:
        return lambda: Values(outputs()[0])
    return lambda: Raw(outputs())


def _check_labels(task: Task, classes: int) -> None:
    classes = max(classes, 2)
    if task.labels and len(task.labels) != classes:
        raise BundleError(
            f"task {task.name} has {len(task.labels)} labels and its output has {classes} classes",
            "give one label per class, or none",
        )


def _classification(task: Task, spec: TensorSpec, array: Array) -> Callable[[], Classification]:
    flat = array.reshape(-1)
    if not np.shares_memory(flat, array):
        raise BundleError(f"output {spec.name} of task {task.name} is not contiguous", "build the bundle again")
    _check_labels(task, flat.size)
    labels: tuple[str | None, ...] = task.labels or (None,) * max(2, flat.size)
    quantised = spec.dtype in INTEGERS and spec.scale is not None

    def single() -> Classification:
        value = float(dequantise(flat, spec)[0])
        probability = value if _is_probability(spec) else _logistic(value)
        index = int(probability >= 0.5)
        return Classification(labels[index], index, probability if index else 1 - probability)

    if flat.size == 1:
        return single
    if quantised and np.iinfo(spec.dtype).bits == 8:
        return _quantised_classification(spec, flat, labels)

    def general() -> Classification:
        values = dequantise(flat, spec)
        index = int(values.argmax())
        top = float(values[index])
        if values.min() >= 0 and abs(float(values.sum()) - 1) <= 1e-3:
            return Classification(labels[index], index, top)
        return Classification(labels[index], index, 1 / float(np.exp(values - top).sum()))

    return general


def _quantised_classification(
    spec: TensorSpec, flat: Array, labels: tuple[str | None, ...]
) -> Callable[[], Classification]:
    scale = float(spec.scale or 0.0)
    zero_point = spec.zero_point
    if _is_probability(spec):

        def probability() -> Classification:
            index = int(flat.argmax())
            return Classification(labels[index], index, (int(flat[index]) - zero_point) * scale)

        return probability
    # exp(scale * -distance) of each possible distance to the top.
    table = np.exp(-scale * np.arange(256))
    listed = table.tolist()
    if flat.size <= MAX_LISTED_CLASSES:

        def short() -> Classification:
            values = flat.tolist()
            top = max(values)
            index = values.index(top)
            return Classification(labels[index], index, 1 / sum([listed[top - value] for value in values]))

        return short
    largest = flat.argmax
    stored = flat.tobytes

    def long() -> Classification:
        index = int(largest())
        return Classification(labels[index], index, functools.partial(_share_of, index, stored(), table))

    return long


def _share_of(index: int, stored: bytes, table: Float64Array) -> float:
    """Softmax of one of many 8-bit values: ``table`` holds the exponential of each distance to the top."""
    values = np.frombuffer(stored, np.uint8)
    # Subtraction of bytes wraps, so it gives the distance for int8 and uint8 alike.
    return 1 / float(table.take(values[index] - values).sum())


def _is_probability(spec: TensorSpec) -> bool:
    """Whether the tensor has the quantisation that TFLite fixes for SOFTMAX and LOGISTIC outputs."""
    if spec.dtype not in ("int8", "uint8") or spec.scale is None:
        return False
    return spec.zero_point == np.iinfo(spec.dtype).min and abs(spec.scale * 256 - 1) < 1e-6


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def _class_map(task: Task, spec: TensorSpec, array: Array) -> Callable[[], ClassMap]:
    if array.ndim != 4:
        raise BundleError(
            f"task {task.name} is a segmentation and its output has shape {array.shape}",
            "give an output of shape 1 x height x width x classes, or another kind",
        )
    _check_labels(task, array.shape[3])
    labels = task.labels

    def single() -> ClassMap:
        values = dequantise(array[0, :, :, 0], spec)
        within = values.min() >= 0 and values.max() <= 1
        return ClassMap((values > (0.5 if within else 0.0)).astype(np.int32), labels)

    def several() -> ClassMap:
        return ClassMap(array[0].argmax(axis=-1).astype(np.int32), labels)

    return single if array.shape[3] == 1 else several
