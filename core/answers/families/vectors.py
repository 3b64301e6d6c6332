"""One vector of numbers: several labels at once, or an embedding.

"multi-label": a score per class, each for itself: probabilities, or raw scores before a sigmoid, which shows in numbers
below 0 or above 1 unless ``scores`` says it. "embedding": a direction, compared with the known ones of a gallery by
the cosine of the angle between them (Deng et al., ArcFace, arXiv:1801.07698). Two faces are taken for one from about
0.36 on (OpenCV's FaceRecognizerSF); a name for a stranger is worse than none, so the threshold is a little above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import sigmoid
from multigraft.answers.embedding import Embedding
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.multi_label import MultiLabel
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

LABEL_THRESHOLD = 0.5
SIMILARITY_THRESHOLD = 0.4


def _recognise_labels(evidence: Evidence) -> AnswerFormat | str:
    if clause := _no_vector(evidence):
        return clause
    roles = {"scores": 0}
    return AnswerFormat("multi-label", evidence.shapes, evidence.size, roles, score_threshold=LABEL_THRESHOLD)


def _recognise_embedding(evidence: Evidence) -> AnswerFormat | str:
    if clause := _no_vector(evidence):
        return clause
    if math.prod(evidence.shapes[0]) < 2:
        return "output 0 has one number, which is no direction"
    roles = {"vector": 0}
    return AnswerFormat("embedding", evidence.shapes, evidence.size, roles, score_threshold=SIMILARITY_THRESHOLD)


def _no_vector(evidence: Evidence) -> str | None:
    if not evidence.named:
        return "any vector could be one, so the user says it"
    if sum(n > 1 for n in evidence.shapes[0]) > 1:
        return f"output 0 is {size_text(evidence.shapes[0])} and has to be one vector"
    return None


def _labels(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("scores", 0)
    check_labels(labels, math.prod(answer.shapes[number]), f"output {number}")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> MultiLabel:
        scores = outputs[number].reshape(-1)
        raw = answer.scores == "logits"
        if not answer.scores:
            raw = bool((scores < -_ROUNDING).any() or (scores > 1 + _ROUNDING).any())
        scores = sigmoid(scores) if raw else np.clip(scores, 0, 1)
        kept = np.flatnonzero(scores >= answer.score_threshold)
        order = kept[np.argsort(-scores[kept], kind="stable")][: answer.most]
        return MultiLabel(order.astype(np.int32), scores[order].astype(np.float32), labels)

    return decode


_ROUNDING = 0.01
"""Probabilities in 8 bits may end a step beside 0 and 1."""


def _embedding(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("vector", 0)
    if labels:
        raise ConfigurationError("an embedding has no classes", "give a gallery in place of labels")
    numbers = math.prod(answer.shapes[number])
    known = _known(answer, numbers)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Embedding:
        vector = _unit(outputs[number].reshape(1, -1))[0]
        if known is None:
            return Embedding(vector)
        similarities = known @ vector
        nearest = int(similarities.argmax())
        similarity = float(similarities[nearest])
        is_known = similarity >= answer.score_threshold and bool(vector.any())
        return Embedding(vector, answer.gallery[nearest] if is_known else None, similarity)

    return decode


def _known(answer: AnswerFormat, numbers: int) -> Float32Array | None:
    """(known, numbers) of unit length; None without any."""
    if len(answer.gallery) != len(answer.gallery_vectors):
        raise ConfigurationError(
            f"the gallery has {len(answer.gallery)} names and {len(answer.gallery_vectors)} vectors",
            "give one vector per name; a name may come more than once",
        )
    for name, vector in zip(answer.gallery, answer.gallery_vectors, strict=True):
        if len(vector) != numbers:
            raise ConfigurationError(
                f"{name!r} of the gallery has {len(vector)} numbers, and the network gives {numbers}",
                "make the gallery with the same network",
            )
    if not answer.gallery:
        return None
    known = _unit(np.array(answer.gallery_vectors, np.float64))
    for name, row in zip(answer.gallery, known, strict=True):
        if not row.any():
            raise ConfigurationError(f"{name!r} of the gallery is no direction", "take it from a picture again")
    return known


def _unit(rows: Float32Array | np.typing.NDArray[np.float64]) -> Float32Array:
    """Each row at length 1; zeros where it has no direction or is no number."""
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    is_sound = np.isfinite(largest) & (largest > 0)
    # By the largest first: squares of extreme numbers would be infinite or 0.
    wide = np.where(is_sound, wide / np.where(is_sound, largest, 1), 0)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit: Float32Array = (wide / np.where(length > 0, length, 1)).astype(np.float32)
    return unit


MULTI_LABEL = Family(
    "multi-label",
    "several labels at once: a score per class, each for itself",
    ("classification", "other"),
    _recognise_labels,
    _labels,
)
EMBEDDING = Family(
    "embedding",
    "a vector of unit length, and the nearest of a gallery",
    ("regression", "other"),
    _recognise_embedding,
    _embedding,
)
