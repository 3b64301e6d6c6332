"""From scores of all cells and classes to candidates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float32Array

Indices = npt.NDArray[np.intp]
Classes = npt.NDArray[np.int32]


def best_per_class(scores: Float32Array, threshold: float) -> tuple[Indices, Float32Array, Classes]:
    """Cells whose best class reaches ``threshold``: their numbers, scores and classes.

    Args:
        scores: (cells, classes), probabilities; NaN never reaches anything.
        threshold: 0..1.
    """
    single = scores.shape[1] == 1
    top = scores[:, 0] if single else scores.max(axis=1)
    kept = np.flatnonzero(top >= threshold)
    classes = np.zeros(len(kept), np.int32) if single else scores[kept].argmax(axis=1).astype(np.int32)
    return kept, top[kept].astype(np.float32), classes


def sigmoid(values: Float32Array) -> Float32Array:
    """The logistic function, without overflow."""
    half = np.float32(0.5)
    result: Float32Array = half * np.tanh(half * values) + half
    return result


def logit(probability: float) -> float:
    """What a sigmoid turns into ``probability``: a threshold on raw outputs costs no exponential per cell."""
    clipped = min(max(probability, 1e-9), 1 - 1e-9)
    return float(np.log(clipped / (1 - clipped)))


def are_logits(values: Float32Array, said: str) -> bool:
    """Whether scores still need a sigmoid.

    Args:
        values: All scores of a frame.
        said: :attr:`multigraft.answers.answer_format.AnswerFormat.scores`; where it's empty the values tell:
            probabilities are never below 0, raw scores of a detector are so in almost every cell.
    """
    if said or not values.size:
        return said == "logits"
    lowest = values.min()
    return bool((np.fmin.reduce(values, axis=None) if np.isnan(lowest) else lowest) < -0.5)
