"""What labels, names and a file's own words say of a network's outputs, where shapes leave it open."""

from __future__ import annotations

import ast
import re

from multigraft.answers.family import Evidence

_LONGEST = 100_000
"""Characters of a file's own words that are read: names of thousands of classes, and no more."""


def task_of(evidence: Evidence) -> str | None:
    """What Ultralytics wrote into the file: ``detect``, ``pose``, ``segment``, ``obb``; None where it says nothing."""
    return evidence.metadata.get("task") or None


def classes_of(evidence: Evidence) -> int | None:
    """Number of classes by the labels, else by the names in the file; None where neither is known."""
    if evidence.labels:
        return len(evidence.labels)
    names = _literal(evidence.metadata.get("names", ""))
    return len(names) if isinstance(names, dict | list | tuple) and names else None


def keypoints_of(evidence: Evidence) -> tuple[int, int] | None:
    """Number of keypoints and numbers per keypoint (2 or 3) by the file (``kpt_shape``); None where it's silent."""
    shape = _literal(evidence.metadata.get("kpt_shape", ""))
    match shape:
        case [int(count), 2 | 3 as numbers] | (int(count), 2 | 3 as numbers) if count > 0:
            return count, numbers
    return None


def contradiction(evidence: Evidence, classes: int, output: str) -> str | None:
    """A clause where the number of classes read from the shapes is not the known one.

    A family that the user named is not contradicted: there a wrong number of labels is an error of its own
    (:func:`multigraft.answers.decoding.label_check.check_labels`).
    """
    known = classes_of(evidence)
    if evidence.named or known is None or known == classes:
        return None
    return f"{output} would hold {classes} classes, and {known} are known"


def output_named(evidence: Evidence, pattern: str) -> int | None:
    """The one output whose name matches; None where none does, or more than one."""
    found = [i for i, name in enumerate(evidence.names) if re.search(pattern, name, re.IGNORECASE)]
    return found[0] if len(found) == 1 else None


def several_outputs(evidence: Evidence) -> str | None:
    """A clause where there is not exactly one output."""
    count = len(evidence.shapes)
    return None if count == 1 else f"there are {count} outputs in place of one"


def size_text(shape: tuple[int, ...]) -> str:
    """A shape for a sentence: 84 x 2100."""
    return " x ".join(map(str, shape))


def _literal(text: str) -> object:
    if not 0 < len(text) <= _LONGEST:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
