"""Ridge regression from sums alone, pulled towards weights one already has.

For a design X (rows, inputs) and targets Y (rows, outputs) the solved W minimises
``|X W + b - Y|^2 + strength * |W - W0|^2``; the intercept b is free. Only X'X, X'Y, the column sums and the row count
are kept, so the frames can be streamed and the sums of several devices added. The strength is chosen by the squared
error on rows that were held out of the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from multigraft.refit.few_rows import FewRows
from multigraft.refit.row_blocks import products, times
from multigraft.tensors.arrays import Array, Float64Array

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidates, relative to the mean variance of the inputs times the row count."""

CLAMP_ROUNDS = 3


@dataclass
class RidgeSums:
    """Sufficient statistics of ``groups`` independent regressions; adding two gives the sums over both row sets.

    Attributes:
        has_intercept: Whether an intercept is free; without one it is 0, and the weights are solved for that.
    """

    xx: Float64Array
    xy: Float64Array
    yy: Float64Array
    x: Float64Array
    y: Float64Array
    rows: int = 0
    has_intercept: bool = True

    @classmethod
    def empty(cls, groups: int, inputs: int, outputs: int, *, has_intercept: bool = True) -> Self:
        return cls(
            np.zeros((groups, inputs, inputs)),
            np.zeros((groups, inputs, outputs)),
            np.zeros((groups, outputs)),
            np.zeros((groups, inputs)),
            np.zeros((groups, outputs)),
            has_intercept=has_intercept,
        )

    def add(self, design: Array, targets: Array) -> None:
        """Add rows: ``design`` (groups, rows, inputs) and ``targets`` (groups, rows, outputs)."""
        self.xx += products(design, design)
        self.xy += products(design, targets)
        self.yy += np.einsum("gro,gro->go", targets, targets, dtype=np.float64)
        self.x += design.sum(1, dtype=np.float64)
        self.y += targets.sum(1, dtype=np.float64)
        self.rows += design.shape[1]

    def retarget(self, design: Array, targets: Array) -> None:
        """Put ``targets`` in the place of those added so far, for the same ``design`` rows."""
        self.xy = products(design, targets)
        self.yy = np.einsum("gro,gro->go", targets, targets, dtype=np.float64)
        self.y = targets.sum(1, dtype=np.float64)

    def __add__(self, other: Self) -> Self:
        mine, theirs = self.__dict__, other.__dict__
        added = {name: mine[name] + theirs[name] for name in mine if name != "has_intercept"}
        return type(self)(**added, has_intercept=self.has_intercept)

    def _centred(self) -> tuple[Float64Array, Float64Array]:
        if not self.has_intercept:
            return self.xx, self.xy
        xx = self.xx - self.x[:, :, None] * self.x[:, None, :] / self.rows
        xy = self.xy - self.x[:, :, None] * self.y[:, None, :] / self.rows
        return xx, xy

    def solve(self, prior: Float64Array, strength: float) -> tuple[Float64Array, Float64Array]:
        """Weights (groups, inputs, outputs) and intercept (groups, outputs) for one relative strength."""
        return next(self.solutions(prior, (strength,)))

    def solutions(self, prior: Float64Array, strengths: Iterable[float]) -> Iterator[tuple[Float64Array, Float64Array]]:
        """What :meth:`solve` gives for each strength; what does not depend on it is computed once."""
        xx, xy = self._centred()
        inputs = xx.shape[1]
        power, lacking = np.trace(xx, axis1=1, axis2=2), xy - xx @ prior
        for strength in strengths:
            pull = strength * power / inputs + 1e-9 * self.rows
            weight = prior + np.linalg.solve(xx + pull[:, None, None] * np.eye(inputs), lacking)
            if self.has_intercept:
                yield weight, (self.y - np.einsum("gi,gio->go", self.x, weight)) / self.rows
            else:
                yield weight, np.zeros_like(self.y)

    def spread(self, weight: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Standard deviation (groups, outputs) over the rows: of what these weights predict, and of the targets."""
        xx, _ = self._centred()
        predicted = np.einsum("gio,gij,gjo->go", weight, xx, weight, optimize=True)
        wanted = self.yy - self.y**2 / self.rows
        return np.sqrt(np.maximum(predicted, 0) / self.rows), np.sqrt(np.maximum(wanted, 0) / self.rows)

    def error(self, weight: Float64Array, intercept: Float64Array) -> float:
        """Sum of squared errors of the fit on these rows, from the sums alone."""
        quadratic = np.sum(weight * (self.xx @ weight))
        cross = np.sum(weight * self.xy)
        with_bias = np.sum(intercept * (np.einsum("gi,gio->go", self.x, weight) - self.y))
        return float(quadratic - 2 * cross + self.yy.sum() + 2 * with_bias + self.rows * np.sum(intercept**2))

    def variance(self) -> float:
        """Sum of squared deviations of the targets from their means."""
        return float(np.sum(self.yy - self.y**2 / self.rows))


Sums = TypeVar("Sums", RidgeSums, FewRows)


@dataclass(frozen=True)
class Solution:
    """A solved layer.

    Attributes:
        weight: (groups, inputs, outputs).
        intercept: (groups, outputs).
        strength: The chosen ridge strength, relative to the input variance.
        relative_error: Squared error over the variance of the targets, on all rows.
    """

    weight: Float64Array
    intercept: Float64Array
    strength: float
    relative_error: float

    def predict(self, design: Array) -> Array:
        """Outputs (groups, rows, outputs) in the dtype of ``design``."""
        result = times(design, self.weight.astype(design.dtype))
        result += self.intercept[:, None, :].astype(design.dtype)
        return result


def fit(train: Sums, held_out: Sums, prior: Float64Array) -> tuple[Float64Array, Float64Array, float]:
    """Choose the strength on ``held_out``, then solve on all rows; returns weight, intercept and the strength."""
    solutions = zip(STRENGTHS, train.solutions(prior, STRENGTHS), strict=True)
    errors = {strength: held_out.error(*solution) for strength, solution in solutions}
    best = min(errors, key=errors.__getitem__)
    weight, intercept = (train + held_out).solve(prior, best)
    return weight, intercept, best


def fit_rows(
    design: Array,
    targets: Array,
    held_out: npt.NDArray[np.bool_],
    prior: Float64Array,
    bounds: tuple[float, float] | None = None,
    offsets: Array | None = None,
    has_intercept: bool = True,
) -> Solution:
    """Solve one layer from its rows, leaving out errors that a following clamp hides.

    Args:
        design: (groups, rows, inputs).
        targets: (groups, rows, outputs).
        held_out: (rows,) mask of the rows that choose the ridge strength.
        prior: Weights the ridge pulls to, (groups, inputs, outputs).
        bounds: Bounds of the clamp that follows (ReLU: 0, infinity), or None. Where target and prediction lie beyond
            the same bound, the target is moved to the prediction, :data:`CLAMP_ROUNDS` times.
        offsets: What is added before the clamp (the other side of a residual sum), like ``targets``.
        has_intercept: Whether the layer, or what follows it, can hold an intercept.
    """
    given = design, targets, held_out, prior, bounds, offsets, has_intercept
    return _fitted(FewRows, *given) if design.shape[1] < prior.shape[1] else _fitted(RidgeSums, *given)


def _fitted(
    kind: type[Sums],
    design: Array,
    targets: Array,
    held_out: npt.NDArray[np.bool_],
    prior: Float64Array,
    bounds: tuple[float, float] | None,
    offsets: Array | None,
    has_intercept: bool,
) -> Solution:
    train, test = (kind.empty(*prior.shape, has_intercept=has_intercept) for _ in range(2))
    train.add(design[:, ~held_out], targets[:, ~held_out])
    test.add(design[:, held_out], targets[:, held_out])
    weight, intercept, strength = fit(train, test, prior)
    sums = train + test
    variance = sums.variance() + 1e-12
    if bounds:
        offset = offsets if offsets is not None else np.zeros((), design.dtype)
        low, high = (np.array(b, design.dtype) - offset for b in bounds)
        below, above = targets <= low, targets >= high
        for _ in range(CLAMP_ROUNDS):
            goal = Solution(weight, intercept, strength, 0.0).predict(design)
            hidden = (below & (goal <= low)) | (above & (goal >= high))
            np.copyto(goal, targets, where=~hidden)
            sums.retarget(design, goal)
            weight, intercept = sums.solve(prior, strength)
    return Solution(weight, intercept, strength, max(sums.error(weight, intercept), 0.0) / variance)


MAX_SCALE = 4.0
"""Variance restoring never amplifies an output more than this."""


def variance_restored(solution: Solution, sums: RidgeSums) -> Solution:
    """The solution scaled up per output to the spread of its targets, of which ridge regression takes some away."""
    spread, wanted = sums.spread(solution.weight)
    factor = np.clip(wanted / np.maximum(spread, 1e-6), 1.0, MAX_SCALE)
    mean = sums.y / sums.rows
    return Solution(
        solution.weight * factor[:, None, :],
        mean + (solution.intercept - mean) * factor,
        solution.strength,
        solution.relative_error,
    )
