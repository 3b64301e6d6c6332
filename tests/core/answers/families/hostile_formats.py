"""Formats of answers as a stranger may write them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from multigraft.answers.answer_format import AnswerFormat


def ruined(random: np.random.Generator, answer: AnswerFormat) -> AnswerFormat:
    """The format as a hostile manifest may have it."""
    changes: dict[str, Any] = {}
    numbers = [-1, 0, 1, 2, 3, 5, 8, 16, 32, 64, 85, 300, 2**31, 2**70]

    def number() -> int:
        return numbers[random.integers(len(numbers))]

    for field in random.permutation([f.name for f in dataclasses.fields(answer)])[: random.integers(1, 4)].tolist():
        match field:
            case "shapes":
                changes[field] = tuple(tuple(number() for _ in s) for s in answer.shapes)[: random.integers(1, 4)]
            case "size" | "strides" | "edges":
                changes[field] = tuple(number() for _ in range(random.integers(0, 4)))
            case "roles":
                changes[field] = {role: int(random.integers(-1, 7)) for role in [*answer.roles, "x"] if number() > 2}
            case "score_threshold" | "iou_threshold":
                changes[field] = float(random.choice([np.nan, np.inf, -1, 0, 0.5, 1, 2]))
            case "most" | "keypoints" | "keypoint_numbers" | "bins" | "blank":
                changes[field] = number()
            case "anchors":
                changes[field] = tuple((float(number()),) * 6 for _ in range(random.integers(0, 4)))
            case "boxes" | "scores":
                changes[field] = str(random.choice(["", "x", "logits", "y_first", "centres"]))
            case "normalised":
                changes[field] = True
    return dataclasses.replace(answer, **changes)
