"""Ridge regression where rows are fewer than inputs, such as a classifier of 1,280 features and a few hundred frames.

The same as :class:`multigraft.refit.ridge.RidgeSums` gives, by its dual form: what is solved has as many unknowns an
output as there are rows (Saunders, Gammerman and Vovk, ICML 1998). The rows are kept, not their sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from multigraft.tensors.arrays import Array, Float64Array


@dataclass
class FewRows:
    """The rows of ``groups`` independent regressions.

    Attributes:
        x: (groups, rows, inputs).
        y: (groups, rows, outputs).
        has_intercept: Whether an intercept is free; without one it is 0, and the weights are solved for that.
    """

    x: Float64Array
    y: Float64Array
    has_intercept: bool = True

    @classmethod
    def empty(cls, groups: int, inputs: int, outputs: int, *, has_intercept: bool = True) -> Self:
        return cls(np.zeros((groups, 0, inputs)), np.zeros((groups, 0, outputs)), has_intercept)

    def add(self, design: Array, targets: Array) -> None:
        """Add rows: ``design`` (groups, rows, inputs) and ``targets`` (groups, rows, outputs)."""
        self.x = np.concatenate([self.x, design.astype(np.float64)], 1)
        self.y = np.concatenate([self.y, targets.astype(np.float64)], 1)

    def retarget(self, design: Array, targets: Array) -> None:
        """Put ``targets`` in the place of those added so far, for the same ``design`` rows in any order."""
        self.x, self.y = design.astype(np.float64), targets.astype(np.float64)

    def __add__(self, other: Self) -> Self:
        both = np.concatenate([self.x, other.x], 1), np.concatenate([self.y, other.y], 1)
        return type(self)(*both, self.has_intercept)

    def solve(self, prior: Float64Array, strength: float) -> tuple[Float64Array, Float64Array]:
        """Weights (groups, inputs, outputs) and intercept (groups, outputs) for one relative strength."""
        return next(self.solutions(prior, (strength,)))

    def solutions(self, prior: Float64Array, strengths: Iterable[float]) -> Iterator[tuple[Float64Array, Float64Array]]:
        """What :meth:`solve` gives for each strength; what does not depend on it is computed once."""
        x, y = self.x, self.y
        if self.has_intercept:
            x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        rows, inputs = x.shape[1:]
        turned = x.transpose(0, 2, 1)
        power, products, lacking = (x**2).sum((1, 2)), x @ turned, y - x @ prior
        for strength in strengths:
            pull = strength * power / inputs + 1e-9 * rows
            weight = prior + turned @ np.linalg.solve(products + pull[:, None, None] * np.eye(rows), lacking)
            if self.has_intercept:
                yield weight, self.y.mean(1) - np.einsum("gi,gio->go", self.x.mean(1), weight)
            else:
                yield weight, np.zeros((len(y), y.shape[2]))

    def error(self, weight: Float64Array, intercept: Float64Array) -> float:
        """Sum of squared errors of the fit on these rows."""
        return float(((self.x @ weight + intercept[:, None] - self.y) ** 2).sum())

    def variance(self) -> float:
        """Sum of squared deviations of the targets from their means."""
        return float(((self.y - self.y.mean(1, keepdims=True)) ** 2).sum())
