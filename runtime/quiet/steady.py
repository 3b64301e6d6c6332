"""Answers that change only when more than one frame says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.answers.detections import Detections
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.per_box import PerBox
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
        patience: For more than so many frames in a row; until then it need not enter again.
    """

    frames: int = 1
    enter: float | None = None
    leave: float = 0.0
    patience: int = 0


USUAL = Rule(frames=5, patience=5)
"""Of what is told for days on end, where nobody says."""


class Steady:
    """A filter for the answers of one stream of frames; not for use from several threads at once.

    Args:
        rules: Task to its rule; answers of other tasks, and of kinds that no rule is for, pass. What was said of single
            boxes stays with its box.
        bases: Task to the task whose boxes it looks at.
    """

    def __init__(self, rules: Mapping[str, Rule], bases: Mapping[str, str] | None = None) -> None:
        self._rules = dict(rules)
        self._bases = dict(bases or {})
        self._majorities: dict[str, Majority[int]] = {}
        self._shown: dict[str, Classification] = {}
        self._classes: dict[str, dict[int, Hysteresis]] = {}

    def step(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """The answers that hold now; a class of which nothing is settled yet is left out."""
        calm: dict[str, Answer] = {}
        kept: dict[str, npt.NDArray[np.intp]] = {}
        # Bases first, whatever the order of the answers: a chain of tasks is as long as its steps back.
        for task in sorted(answers, key=self._steps_back):
            answer, rule = answers[task], self._rules.get(task)
            if (rows := kept.get(self._bases.get(task, ""))) is not None:
                answer, own = _of_boxes(answer, rows)
            else:
                own = None
            if rule is not None and rule.enter is not None and isinstance(answer, Detections):
                there = self._there(task, rule, answer.classes.tolist(), answer.scores.tolist())
                answer, own = answer.chosen(there), there if own is None else own[there]
            elif rule is not None:
                held = self._held(task, rule, answer)
                if held is None:
                    continue
                answer = held
            calm[task] = answer
            if own is not None:
                kept[task] = own
        return {task: calm[task] for task in answers if task in calm}

    def _steps_back(self, task: str) -> int:
        steps = 0
        while task in self._bases and steps <= len(self._bases):
            task, steps = self._bases[task], steps + 1
        return steps

    def _held(self, task: str, rule: Rule, answer: Answer) -> Answer | None:
        if isinstance(answer, Classification):
            return self._classification(task, rule, answer)
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
        shown = set[int]()
        for index in {*known, *best}:
            state = known.get(index) or Hysteresis(rule.enter or 0.0, rule.leave, rule.patience)
            # A class without boxes has the lowest score there is.
            score = best.get(index, -np.inf)
            if state.step(score):
                known[index] = state
            else:
                known.pop(index, None)
            # What is waited for is not shown: a box too weak and no box are the same to who counts frames without it.
            if state.is_there and not score < rule.leave:
                shown.add(index)
        return np.array([i for i, index in enumerate(classes) if index in shown], np.intp)


def _of_boxes(answer: Answer, rows: npt.NDArray[np.intp]) -> tuple[Answer, npt.NDArray[np.intp] | None]:
    """What was said of the boxes that are left, by their new numbers; of detections also which ones are left."""
    new = {old: number for number, old in enumerate(rows.tolist())}
    if isinstance(answer, PerBox):
        told = [(new[n], a) for n, a in zip(answer.numbers, answer.answers, strict=True) if n in new]
        return PerBox(answer.of, tuple(n for n, _ in told), tuple(a for _, a in told)), None
    if isinstance(answer, Detections) and answer.parents is not None:
        left = np.array([i for i, n in enumerate(answer.parents.tolist()) if n in new], np.intp)
        parents = np.array([new[n] for n in answer.parents[left].tolist()], np.int32)
        return dataclasses.replace(answer.chosen(left), parents=parents), left
    return answer, None
