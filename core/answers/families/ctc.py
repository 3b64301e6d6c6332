"""CTC: a line of text, a class per step, steps from left to right.

The best class of each step, repetitions taken once, then without the class that means nothing (Graves et al., 2006,
"Connectionist Temporal Classification", best path decoding). Outputs are steps x classes or classes x steps, as
probabilities, raw scores or logarithms of probabilities. The labels are the alphabet: one per class; or one fewer,
without the class that means nothing, which stands at ``blank`` (-1 for the last); or two fewer, as PaddleOCR writes
its alphabets: nothing first, a space last (PaddlePaddle/PaddleOCR ppocr/postprocess/rec_postprocess.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.answers.text import Text
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

_FEWEST = 10
"""Labels below which classes are not taken for an alphabet unless the user says so."""


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    fitting = [i for i, shape in enumerate(evidence.shapes) if sum(n > 1 for n in shape) == 2]
    if len(evidence.shapes) > 1 and not evidence.named:
        return f"there are {len(evidence.shapes)} outputs in place of one"
    if not fitting:
        return f"output 0 is {size_text(evidence.shapes[0])} and has to be steps x classes"
    answer = AnswerFormat("ctc", evidence.shapes, evidence.size, {"classes": fitting[0]}, score_threshold=0.0)
    if evidence.named:
        return answer
    short = sum(len(label) <= 1 for label in evidence.labels)
    if len(evidence.labels) < _FEWEST or short < 0.9 * len(evidence.labels):
        return "its labels are no alphabet"
    if not _alphabets(_two_axes(evidence.shapes[fitting[0]]), evidence.labels, 0):
        return f"output {fitting[0]} does not have a class for each of {len(evidence.labels)} characters"
    return answer


def _two_axes(shape: Shape) -> Shape:
    return tuple(n for n in shape if n > 1)


def _alphabets(shape: Shape, labels: tuple[str, ...], blank: int) -> list[tuple[int, tuple[str, ...]]]:
    """Which axis may hold the classes, and the character of each; the likelier ones first."""
    found = []
    for missing in (1, 0, 2):
        for axis in (1, 0):
            classes = len(labels) + missing
            if shape[axis] != classes or not -classes <= blank < classes or (missing == 2 and blank != 0):
                continue
            characters = list(labels)
            if missing:
                characters.insert(blank % classes, "")
            if missing == 2:
                characters.append(" ")
            found.append((axis, tuple(characters)))
    return found


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("classes", 0)
    shape = _two_axes(answer.shapes[number])
    if len(shape) != 2:
        raise ConfigurationError(
            f"output {number} is {size_text(answer.shapes[number])} and no steps x classes", "name another output"
        )
    found = _alphabets(shape, labels, answer.blank)
    if not found:
        raise ConfigurationError(
            f"there are {len(labels)} characters, and output {number} is {size_text(shape)}",
            "give one label per class, in order, without the class that means nothing (its number is blank)",
        )
    axis, characters = found[0]
    blank = answer.blank % len(characters)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Text:
        steps = outputs[number].reshape(shape)
        steps = steps if axis == 1 else steps.T
        if not np.isfinite(steps).all():
            # Logarithms of 0 are minus infinity, which is as good as any very low number.
            steps = np.nan_to_num(steps, nan=_NOTHING, posinf=_NOTHING, neginf=_NOTHING)
        best = steps.argmax(axis=1)
        is_new = np.ones(len(best), np.bool_)
        is_new[1:] = best[1:] != best[:-1]
        kept = np.flatnonzero(is_new & (best != blank))
        if not len(kept):
            return Text("", 0.0)
        score = float(_probabilities(steps, kept, best[kept], answer.scores).mean())
        text = "".join([characters[i] for i in best[kept].tolist()])
        return Text(text, score) if score >= answer.score_threshold else Text("", score)

    return decode


_NOTHING = -1e9


def _probabilities(
    steps: Float32Array, rows: np.typing.NDArray[np.intp], classes: np.typing.NDArray[np.intp], said: str
) -> Float32Array:
    """Of the chosen classes of some steps."""
    top = steps[rows, classes]
    if said == "probabilities" or (not said and steps.min() >= -_ROUNDING and steps.max() <= 1 + _ROUNDING):
        return np.clip(top, 0, 1)
    share: Float32Array = 1 / np.exp(steps[rows] - top[:, None]).sum(axis=1)
    return share


_ROUNDING = 0.01
"""Probabilities in 8 bits may end a step beside 0 and 1."""

CTC = Family(
    "ctc",
    "a line of text: steps x classes, the labels are the alphabet",
    ("other",),
    _recognise,
    _decoder,
)
