"""Answers in a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.embedding import UNKNOWN, Embedding
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.per_box import PerBox, Told
from multigraft.answers.text import Text
from multigraft.runtime.answers import Classification, Raw, Values

_MOST_NUMBERS = 6
MOST_BOXES = 5
"""Of one answer."""


def words_of(task: str, answer: Told) -> str:
    """One line that begins with the task's name."""
    return f"{task}: {_said(answer)}"


def _said(answer: Told) -> str:
    match answer:
        case Classification():
            return f"{answer.index if answer.label is None else answer.label} {answer.score:.2f}"
        case MultiLabel():
            few = [f"{answer.label(i)} {float(answer.scores[i]):.2f}" for i in range(min(len(answer), _MOST_NUMBERS))]
            return ", ".join(few) or "none"
        case Text():
            return f"“{answer.text}” {answer.score:.2f}" if answer.text else "no text"
        case Embedding(similarity=None):
            return f"a vector of {len(answer.vector)} numbers"
        case Embedding():
            return f"{answer.name or UNKNOWN} {answer.similarity:.2f}"
        case Values():
            return _numbers(answer.values.reshape(-1)[: _MOST_NUMBERS + 1].tolist())
        case Raw():
            return ", ".join(" x ".join(map(str, output.shape)) for output in answer.outputs[:_MOST_NUMBERS])
        case _:
            return json.dumps(answer.to_json(), ensure_ascii=False)[:200]


def _numbers(values: list[float]) -> str:
    shown = " ".join(f"{value:.3g}" for value in values[:_MOST_NUMBERS])
    return f"{shown} …" if len(values) > _MOST_NUMBERS else shown


def words(answers: Mapping[str, Any]) -> dict[str, str]:
    """Task to its answer in a few words, as the live page shows it and MQTT tells it."""
    return {task: _shown(task, answer) for task, answer in answers.items()}


def _shown(task: str, answer: Any) -> str:
    if isinstance(answer, Detections):
        few = [f"{answer.label(i) or task} {float(answer.scores[i]):.2f}" for i in range(min(len(answer), MOST_BOXES))]
        more = [f"and {len(answer) - MOST_BOXES} more"] if len(answer) > MOST_BOXES else []
        return ", ".join(few + more) or "nothing"
    if isinstance(answer, PerBox):
        few = [f"{number}: {_shown(task, one)}" for number, one in zip(answer.numbers, answer.answers, strict=False)]
        return "; ".join(few[:MOST_BOXES]) or "no boxes"
    if isinstance(answer, ClassMap | DenseMap):
        return "see the picture"
    return words_of(task, answer).removeprefix(f"{task}: ")
