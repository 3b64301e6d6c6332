"""Answers that change only when more than one frame says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.answers.detections import Detections
from multigraft.answers.multi_label import MultiLabel
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.quiet.hysteresis import Hysteresis
from multigraft.runtime.quiet.majority import Majority


@dataclass(frozen=True)
class Rule:
    """How calm the answers of a task are.

    Attributes:
        frames: The class of a picture changes when more than half of so many frames say so.
        enter: Classes of boxes and labels come in when their best score reaches it; None leaves them as they are.
        leave: And leave when it falls below.
    """

    frames: int = 1
    enter: float | None = None
    leave: float = 0.0


class Steady:
    """A filter for the answers of one stream of frames; not for use from several threads at once.

    Args:
        rules: Task to its rule; answers of other tasks, and of kinds that no rule is for, pass.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = dict(rules)
        self._majorities: dict[str, Majority[int]] = {}
        self._shown: dict[str, Classification] = {}
        self._classes: dict[str, dict[int, Hysteresis]] = {}

    def step(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """The answers that hold now; a class of which nothing is settled yet is left out."""
        calm: dict[str, Answer] = {}
        for task, answer in answers.items():
            rule = self._rules.get(task)
            held = answer if rule is None else self._held(task, rule, answer)
            if held is not None:
                calm[task] = held
        return calm

    def _held(self, task: str, rule: Rule, answer: Answer) -> Answer | None:
        if isinstance(answer, Classification):
            return self._classification(task, rule, answer)
        if rule.enter is not None and isinstance(answer, Detections):
            return answer.chosen(self._there(task, rule, answer.classes.tolist(), answer.scores.tolist()))
        if rule.enter is not None and isinstance(answer, MultiLabel):
            rows = self._there(task, rule, answer.classes.tolist(), answer.scores.tolist())
            return MultiLabel(answer.classes[rows], answer.scores[rows], answer.labels)
        return answer

    def _classification(self, task: str, rule: Rule, answer: Classification) -> Classification | None:
        """This answer if it is of the settled class, else the last one that was."""
        majority = self._majorities.get(task)
        if majority is None:
            majority = self._majorities[task] = Majority(rule.frames)
        settled = majority.step(answer.index)
        if settled == answer.index:
            self._shown[task] = answer
        return self._shown.get(task)

    def _there(self, task: str, rule: Rule, classes: list[int], scores: list[float]) -> npt.NDArray[np.intp]:
        """Numbers of those whose class is there. What is not there takes no memory."""
        known = self._classes.setdefault(task, {})
        best: dict[int, float] = {}
        for index, score in zip(classes, scores, strict=True):
            best[index] = max(best.get(index, -np.inf), score)
        for index in {*known, *best}:
            state = known.get(index) or Hysteresis(rule.enter or 0.0, rule.leave)
            # A class without boxes has the lowest score there is.
            if state.step(best.get(index, -np.inf)):
                known[index] = state
            else:
                known.pop(index, None)
        return np.array([i for i, index in enumerate(classes) if index in known], np.intp)
