"""Answers that a function of the user makes of a network's outputs.

It is code, so a bundle never carries or names it: whoever runs it says so, each time, on the machine where it lies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.family import Decoded, Decoder
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.text import Text
from multigraft.errors import ConfigurationError, one_line
from multigraft.own_code import digest_of, named_function
from multigraft.tensors.arrays import Array, Float32Array

MOST = 1000
"""Boxes of a frame that are kept, those of the highest scores."""
_KEYS = ("boxes", "scores", "classes", "keypoints", "corners")
_OTHERS = (ClassMap, DenseMap, MultiLabel, Embedding, Text)
_REMEDY = "return one of the answers that docs/answers.md lists"


@dataclass(frozen=True)
class OwnFormat:
    """A function that decodes.

    It is called as ``function(outputs, labels, size)``: float32 arrays without the batch axis in the layout and order
    of the original network (copies, to do with as one likes), the task's labels, and height and width of the network
    input in pixels. It gives, in pixels of that input:

    - an answer of :mod:`multigraft.answers`: Detections, ClassMap, DenseMap, MultiLabel, Embedding, Text; or
    - a dict of arrays: boxes (n, 4) left, top, right, bottom, scores (n,), and perhaps classes (n,), keypoints
      (n, k, 2 or 3), corners (n, 4, 2); or
    - an array (n, 5 or 6) of left, top, right, bottom, score, and perhaps class; or
    - a text.

    Attributes:
        name: ``module:function``.
        function: Itself.
        size: Height and width of the network input, pixels; an engine knows it by itself.
        digest: Of the code, for what is kept between builds.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    size: tuple[int, int] = (0, 0)
    digest: str = ""

    @classmethod
    def load(cls, name: str, folder: Path, size: tuple[int, int] = (0, 0)) -> OwnFormat:
        """Import the function; ask for consent first (:func:`multigraft.own_code.require_trust`).

        Raises:
            InputError: The module or the function is missing, or fails to import.
        """
        function = named_function(name, folder, "decodes outputs")
        return cls(name, function, size, digest_of(folder))

    def decoder(self, labels: tuple[str, ...]) -> Decoder:
        """What decodes the outputs of one frame.

        It raises ConfigurationError where the function fails or returns something else.
        """

        def decode(outputs: Sequence[Float32Array]) -> Decoded:
            copies = [np.array(output, np.float32, order="C") for output in outputs]
            try:
                found = self.function(copies, labels, self.size)
            except Exception as error:
                raise ConfigurationError(
                    f"{self.name} fails ({type(error).__name__}: {one_line(error)})",
                    "make it take outputs, labels and size",
                ) from error
            try:
                return _answer_of(found, labels)
            except (ValueError, TypeError, OverflowError) as error:
                raise ConfigurationError(f"{self.name} returns {one_line(error)}", _REMEDY) from error

        return decode


def _answer_of(found: Any, labels: tuple[str, ...]) -> Decoded:
    """Checked, so that what follows can rely on it; ValueError says what is wrong, after "returns"."""
    if isinstance(found, _OTHERS):
        return found
    if isinstance(found, str):
        return Text(found, 1.0)
    if isinstance(found, Detections):
        given = {key: value for key in _KEYS if (value := getattr(found, key)) is not None}
        checked = _detections(given, found.labels or labels)
        if found.masks is not None and len(found.masks) != len(found.boxes):
            raise ValueError(f"{len(found.masks)} masks for {len(found.boxes)} boxes")
        return dataclasses.replace(checked, masks=found.masks, edges=found.edges).best(MOST)
    if isinstance(found, Mapping):
        if unknown := [key for key in found if key not in _KEYS]:
            raise ValueError(f"an entry {unknown[0]!r}, which is none of {', '.join(_KEYS)}")
        return _detections(found, labels).best(MOST)
    if isinstance(found, np.ndarray):
        if found.ndim != 2 or found.shape[1] not in (5, 6):
            raise ValueError(f"an array of shape {found.shape} in place of (n, 5) or (n, 6)")
        rows: dict[str, Any] = {"boxes": found[:, :4], "scores": found[:, 4]}
        return _detections(rows | ({"classes": found[:, 5]} if found.shape[1] == 6 else {}), labels).best(MOST)
    raise ValueError(f"{type(found).__name__}, which is no answer")


def _detections(given: Mapping[str, Any], labels: tuple[str, ...]) -> Detections:
    for key in ("boxes", "scores"):
        if key not in given:
            raise ValueError(f"no {key}")
    boxes = _array(given, "boxes")
    boxes = boxes if boxes.size else boxes.reshape(-1, 4)
    count = len(boxes)
    _shaped(boxes, "boxes", (count, 4))
    scores = _shaped(_array(given, "scores"), "scores", (count,))
    numbers = _array(given, "classes") if given.get("classes") is not None else np.zeros(count, np.float32)
    _shaped(numbers, "classes", (count,))
    if count and not (np.isfinite(numbers).all() and (np.rint(numbers) == numbers).all()):
        raise ValueError("classes that are no whole numbers")
    if count and (numbers.min() < 0 or (labels and numbers.max() >= len(labels)) or numbers.max() >= 2**24):
        raise ValueError(f"class {numbers.min() if numbers.min() < 0 else numbers.max():g} of {len(labels)} labels")
    keypoints = corners = None
    if given.get("keypoints") is not None:
        keypoints = _array(given, "keypoints")
        if keypoints.ndim != 3 or len(keypoints) != count or keypoints.shape[2] not in (2, 3):
            raise ValueError(f"keypoints of shape {keypoints.shape} for {count} boxes")
        if keypoints.shape[2] == 2:
            keypoints = np.concatenate([keypoints, np.ones_like(keypoints[:, :, :1])], axis=2)
    if given.get("corners") is not None:
        corners = _shaped(_array(given, "corners"), "corners", (count, 4, 2))
    return Detections(boxes, scores, numbers.astype(np.int32), labels, keypoints, corners=corners)


def _array(given: Mapping[str, Any], key: str) -> Float32Array:
    values: Array = np.asarray(given[key])
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{key} that are no numbers")
    copied: Float32Array = np.array(values, np.float32)
    return copied


def _shaped(values: Float32Array, key: str, shape: tuple[int, ...]) -> Float32Array:
    if values.shape != shape:
        raise ValueError(f"{key} of shape {values.shape} in place of {shape}")
    return values
