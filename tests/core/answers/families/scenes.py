"""Boxes made up for tests, and the short way from a network's outputs to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence
from multigraft.answers.kind import Kind
from multigraft.tensors.arrays import Float32Array

SIZES = st.sampled_from([(320, 320), (64, 96), (160, 128)])
SEEDS = st.integers(0, 2**31)


def evidence(
    outputs: Sequence[Float32Array] | Sequence[tuple[int, ...]],
    size: tuple[int, int] = (320, 320),
    labels: int = 0,
    output_names: tuple[str, ...] = (),
    kind: Kind = "detection",
    metadata: Mapping[str, str] | None = None,
) -> Evidence:
    shapes = tuple(tuple(o.shape) if isinstance(o, np.ndarray) else tuple(o) for o in outputs)
    numbered = output_names or tuple(f"output{i}" for i in range(len(shapes)))
    return Evidence(shapes, numbered, size, kind, tuple(f"class {i}" for i in range(labels)), metadata or {})


def format_of(family: str, given: Evidence, **changes: Any) -> AnswerFormat:
    answer = recognised(given, family)
    assert answer is not None
    return dataclasses.replace(answer, **changes)


def decoded(
    family: str, outputs: Sequence[Float32Array], size: tuple[int, int] = (320, 320), labels: int = 0, **changes: Any
) -> Detections:
    """Outputs as the named family reads them."""
    given = evidence(outputs, size, labels)
    found = decoder_of(format_of(family, given, **changes), given.labels)(outputs)
    assert isinstance(found, Detections)
    return found


def boxes_apart(random: np.random.Generator, count: int, size: tuple[int, int]) -> Float32Array:
    """Boxes within a picture, in columns side by side, so that none suppresses another; (count, 4) corners."""
    width = size[1] / max(count, 1)
    left = width * (np.arange(count) + random.uniform(0.05, 0.2, count))
    right = width * (np.arange(count) + random.uniform(0.5, 0.95, count))
    top = random.uniform(0, size[0] * 0.4, count)
    bottom = top + random.uniform(8, size[0] * 0.5, count)
    boxes: Float32Array = np.stack([left, top, right, bottom], axis=1).astype(np.float32)
    return boxes


def centred(boxes: Float32Array) -> Float32Array:
    """Corners as centre x, centre y, width, height."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def logits(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What a sigmoid turns into these."""
    p = np.asarray(probabilities, np.float64)
    return np.log(p / (1 - p))


def check(
    found: Detections,
    boxes: Float32Array,
    scores: Sequence[float] | npt.NDArray[Any],
    classes: Sequence[int] | npt.NDArray[Any],
    tolerance: float = 1e-2,
) -> npt.NDArray[np.intp]:
    """Whether exactly these were found, by falling score; the numbers of the found ones in the order given."""
    assert len(found) == len(boxes)
    order = np.argsort(found.boxes[:, 0], kind="stable")
    given = np.argsort(boxes[:, 0], kind="stable")
    np.testing.assert_allclose(found.boxes[order], boxes[given], atol=tolerance)
    np.testing.assert_allclose(found.scores[order], np.asarray(scores)[given], atol=1e-4)
    assert found.classes[order].tolist() == np.asarray(classes)[given].tolist()
    assert (np.diff(found.scores) <= 0).all()
    return order[np.argsort(given)]
