"""A format of answers against the outputs it speaks of: manifests come from strangers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.family import Evidence
from multigraft.errors import ConfigurationError

_LARGEST_SIDE = 1 << 14
"""Pixels of an input; tables of its cells have to fit a device's memory."""
_MOST = 100_000
_WIDEST = 100.0


def check_format(answer: AnswerFormat) -> None:
    """Refuse numbers that no network's answers have.

    Raises:
        ConfigurationError: A field is out of its bounds; the message names it.
    """
    keypoints = answer.keypoints
    for field, fits in (
        ("size", len(answer.size) == 2 and all(0 < side <= _LARGEST_SIDE for side in answer.size)),
        ("strides", all(0 < stride <= _LARGEST_SIDE for stride in answer.strides)),
        ("score_threshold", 0 <= answer.score_threshold <= 1),
        ("iou_threshold", 0 <= answer.iou_threshold <= 1),
        ("most", 0 < answer.most <= _MOST),
        ("anchors", all(math.isfinite(v) and v > 0 for level in answer.anchors for v in level)),
        ("core_threshold", 0 <= answer.core_threshold <= 1),
        ("unclip_ratio", 0 <= answer.unclip_ratio <= _WIDEST),
        ("min_size", 0 <= answer.min_size <= _LARGEST_SIDE),
        ("category_ids", len(set(answer.category_ids)) == len(answer.category_ids) <= _MOST),
        ("edges", len(answer.edges) % 2 == 0 and all(0 <= e < (keypoints or _MOST) for e in answer.edges)),
    ):
        if not fits:
            raise ConfigurationError(
                f"{field} of the answers of {answer.family} are out of bounds", "leave it out, or build again"
            )
    for role, number in answer.roles.items():
        if not 0 <= number < len(answer.shapes):
            raise ConfigurationError(
                f"{role} are said to be in output {number}, and there are {len(answer.shapes)}", "count from 0"
            )


def check_reading(
    answer: AnswerFormat,
    labels: tuple[str, ...],
    recognise: Callable[[Evidence], AnswerFormat | str],
    metadata: Mapping[str, str] | None = None,
    fields: tuple[str, ...] = ("strides", "roles"),
) -> None:
    """Refuse a format that its own family would not have made of these shapes.

    Args:
        answer: The format.
        labels: Of its classes.
        recognise: Of the family, a name given.
        metadata: What the file would have said.
        fields: Of the format, which the shapes decide alone.

    Raises:
        ConfigurationError: The shapes are not of the family, or one of these fields is another.
    """
    names = tuple("" for _ in answer.shapes)
    size = (answer.size[0], answer.size[1])
    found = recognise(Evidence(answer.shapes, names, size, "detection", labels, metadata or {}, named=True))
    if isinstance(found, str):
        raise ConfigurationError(f"the outputs are no {answer.family}: {found}", "name another format")
    for field in fields:
        read = getattr(found, field)
        if getattr(answer, field) != read:
            raise ConfigurationError(
                f"{field} of the answers of {answer.family} do not fit the outputs, which say {read}", "leave it out"
            )
