"""A head fitted in closed form: from what a place holds, pooled, to the logits of the whole network.

Ridge regression from pooled features to logits (:mod:`multigraft.refit.ridge`). To fit the features in front of the
last layer, and to use the network's own classifier behind them (as arXiv 2406.14479 does), gives the same function: the
classifier is linear, and a ridge solution is linear in its targets. So the direct map stands for both, with fewer MACs.

Every frame is also predicted by a head that was fitted without it, so that all of them can judge places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.converters.quantising.sound_ranges import step
from multigraft.refit.ridge import STRENGTHS, RidgeSums
from multigraft.tensors.arrays import Float64Array

FOLDS = 5
GRIDS = (1, 2, 4)
"""Cells a side into which a picture of features is averaged."""
MOST_FEATURES = 512

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A linear map of pooled features.

    Attributes:
        grid: Cells a side; 0 where features are no picture.
        weight: (features, classes) float32; features of a picture lie channel by channel.
        bias: (classes,) float32.
        predicted: (frames, classes) logits of the frames of the fit, each by a head that was fitted without it.
        room: Up to which its results are held at least, below and above 0.
    """

    grid: int
    weight: Rows
    bias: Rows
    predicted: Float64Array
    room: float = 0.0

    @property
    def macs(self) -> int:
        """Multiply-accumulates per frame, without the additions of pooling."""
        return int(self.weight.size)

    @property
    def ends(self) -> tuple[float, float]:
        """The range of its results, with 0."""
        return min(float(self.predicted.min()), -self.room), max(float(self.predicted.max()), self.room)


def grids_of(shape: Sequence[int]) -> list[int]:
    """Into how many cells a side a tensor of that shape (without batch) may be averaged."""
    if len(shape) == 1:
        return [0] if shape[0] <= MOST_FEATURES else []
    channels, height, width = shape
    return [
        g
        for g in GRIDS
        if height % g == 0
        and width % g == 0
        and g <= min(height, width)
        and (g == 1 or channels * g * g <= MOST_FEATURES)
    ]


def pooled(value: npt.NDArray[np.float32], grid: int) -> Rows:
    """(features,) of one frame's tensor of shape (channels, height, width), or (features,) as they are."""
    if not grid:
        return value.reshape(-1)
    channels, height, width = value.shape
    cells = value.reshape(channels, grid, height // grid, grid, width // grid)
    averages: Rows = cells.mean(axis=(2, 4)).reshape(-1)
    return averages


def as_stored(features: Rows) -> Rows:
    """Features of a fit, rounded to the int8 step of the range that they have together with zero."""
    scale = step((float(features.min()), float(features.max())))
    rounded: Rows = (np.rint(features / scale) * scale).astype(np.float32)
    return rounded


def fit_head(features: Rows, logits: Rows, grid: int) -> Head:
    """The head of least squared error, its ridge strength chosen on frames left out.

    Args:
        features: (frames, features), frames at least :data:`FOLDS`.
        logits: (frames, classes) of the whole network.
        grid: As ``features`` were averaged.
    """
    frames, inputs = features.shape
    outputs = logits.shape[1]
    prior = np.zeros((1, inputs, outputs))
    # Neighbours in a video are alike: stretches are left out, not single frames.
    parts = np.array_split(np.arange(frames), FOLDS)
    sums = []
    for part in parts:
        one = RidgeSums.empty(1, inputs, outputs)
        one.add(features[None, part], logits[None, part])
        sums.append(one)
    others = []
    for left in range(FOLDS):
        rest = RidgeSums.empty(1, inputs, outputs)
        for number, one in enumerate(sums):
            rest = rest if number == left else rest + one
        others.append(rest)
    errors = {
        s: sum(one.error(*rest.solve(prior, s)) for one, rest in zip(sums, others, strict=True)) for s in STRENGTHS
    }
    best = min(errors, key=errors.__getitem__)
    predicted = np.empty((frames, outputs))
    for part, rest in zip(parts, others, strict=True):
        weight, bias = rest.solve(prior, best)
        predicted[part] = features[part] @ weight[0] + bias[0]
    whole = others[0] + sums[0]
    weight, bias = whole.solve(prior, best)
    return Head(grid, weight[0].astype(np.float32), bias[0].astype(np.float32), predicted)
