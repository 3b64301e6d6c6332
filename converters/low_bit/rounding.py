"""Rounds the weights of one layer to few bits in closed form, a column at a time.

What a layer gives for rows of covariance ``H`` is off by ``(w - s q) H (w - s q)``. Columns are rounded one after the
other, and the error of each is made up by those that are not rounded yet, through the inverse of ``H`` (GPTQ, arXiv
2210.17323). Then single columns are rounded anew, given all others, as long as that helps, and every channel gets the
scale that fits its integers best. ``w`` has been solved for what earlier layers made of the frames (Qronos, arXiv
2505.11695): that sum of squares is the one above and a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float64Array

Matrix = npt.NDArray[np.float32]

BLOCK = 128
"""Columns whose errors are spread among each other before they are spread over the rest."""

SWEEPS = 4
STARTS = (1.0, 0.85, 1.2)
"""Of the scales at which weights alone would be rounded best; every channel keeps the best of them."""

GRID = 24
DAMPING = 0.01
"""Of the mean variance, added to each: channels that stand still have no inverse."""


@dataclass(frozen=True)
class Rounded:
    """A layer in few bits.

    Attributes:
        integers: Outputs x inputs, int8.
        scales: One per output.
        error: Squared error per output, in units of the output's variance times what ``H`` was divided by.
    """

    integers: npt.NDArray[np.int8]
    scales: Float64Array
    error: Float64Array

    @property
    def weights(self) -> Float64Array:
        """Their values, outputs x inputs."""
        return self.integers * self.scales[:, None]


@dataclass(frozen=True)
class Levels:
    """The integers that weights may become.

    Attributes:
        low: Smallest.
        high: Largest.
        are_odd: Whether they are the odd ones between, which sums of signs and their doubles give.
    """

    low: int
    high: int
    are_odd: bool = False

    @classmethod
    def of(cls, bits: int) -> Self:
        """Those of the two's complement."""
        return cls(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    @classmethod
    def odd(cls, bits: int) -> Self:
        """-1 and 1 for one bit; -3, -1, 1 and 3 for two."""
        return cls(1 - 2**bits, 2**bits - 1, True)

    def nearest(self, values: Matrix) -> Matrix:
        """To each value its nearest level."""
        rounded = 2 * np.floor(values / 2) + 1 if self.are_odd else np.rint(values)
        return rounded.clip(self.low, self.high)


def round_weights(weights: Float64Array, covariance: Float64Array, levels: Levels, silent: Float64Array) -> Rounded:
    """``weights`` rounded so that what they give for rows of ``covariance`` changes little.

    Args:
        weights: Outputs x inputs.
        covariance: Inputs x inputs.
        levels: What each integer may be.
        silent: Scales of outputs whose weights are all zero.
    """
    size = covariance.shape[0]
    damping = DAMPING * max(float(np.trace(covariance)) / size, 1e-30)
    damped = covariance + damping * np.eye(size)
    factor = _inverse_factor(damped)
    wanted, gram = np.ascontiguousarray(weights.T, np.float32), damped.astype(np.float32)
    plain = _plain_scales(wanted, np.diag(gram)[:, None], levels)
    is_silent = ~(np.abs(wanted).max(0) > 0)
    best: Rounded | None = None
    for start in STARTS:
        scales = np.where(is_silent, silent, plain * start).astype(np.float32)
        integers = _column_by_column(wanted, scales, factor, levels)
        for _ in range(SWEEPS):
            fitted = _fitted(wanted, integers, gram, scales)
            improved = _swept(wanted, fitted, integers, gram, levels)
            if np.array_equal(improved, integers):
                break
            scales, integers = fitted, improved
        scales = _fitted(wanted, integers, gram, scales)
        off = wanted - integers * scales
        error = ((gram @ off) * off).sum(0).astype(np.float64)
        one = Rounded(integers.T.astype(np.int8), scales.astype(np.float64), error)
        best = one if best is None else _better(best, one)
    assert best is not None
    return best


def _better(one: Rounded, other: Rounded) -> Rounded:
    is_other = other.error < one.error
    return Rounded(
        np.where(is_other[:, None], other.integers, one.integers),
        np.where(is_other, other.scales, one.scales),
        np.minimum(one.error, other.error),
    )


def _inverse_factor(damped: Float64Array) -> Matrix:
    """The upper Cholesky factor of the inverse."""
    from scipy import linalg

    # Of the reversed matrix the lower factor's inverse, reversed again, is that factor.
    reversed_factor = np.linalg.cholesky(damped[::-1, ::-1])
    upper = linalg.solve_triangular(reversed_factor, np.eye(len(damped)), lower=True)[::-1, ::-1]
    return np.ascontiguousarray(upper, np.float32)


def _plain_scales(weights: Matrix, variances: Matrix, levels: Levels) -> Matrix:
    """Per output the scale at which rounding to the nearest integer costs least.

    Args:
        weights: Inputs x outputs, as in all below: what belongs to one input lies in a row, which is faster.
        variances: Of the inputs, as a column.
        levels: Of the integers.
    """
    largest = np.maximum(weights.max(0) / levels.high, weights.min(0) / levels.low)
    largest = np.where(largest > 0, largest, 1.0).astype(np.float32)
    best, least = largest, np.full(largest.shape, np.inf, np.float32)
    for share in np.linspace(0.2, 1.0, GRID, dtype=np.float32):
        scales = largest * share
        rounded = levels.nearest(weights / scales) * scales
        error = ((weights - rounded) ** 2 * variances).sum(0)
        best, least = np.where(error < least, scales, best), np.minimum(error, least)
    return best.astype(np.float32)


def _column_by_column(weights: Matrix, scales: Matrix, factor: Matrix, levels: Levels) -> Matrix:
    left, integers = weights.copy(), np.zeros_like(weights)
    count = len(weights)
    for first in range(0, count, BLOCK):
        last = min(first + BLOCK, count)
        errors = np.zeros((last - first, weights.shape[1]), np.float32)
        for column in range(first, last):
            integers[column] = levels.nearest(left[column] / scales)
            error = (left[column] - integers[column] * scales) / factor[column, column]
            left[column:last] -= factor[column, column:last, None] * error
            errors[column - first] = error
        left[last:] -= factor[first:last, last:].T @ errors
    return integers


def _fitted(weights: Matrix, integers: Matrix, gram: Matrix, scales: Matrix) -> Matrix:
    """The scales that fit the integers best; others stay as they are."""
    product = gram @ integers
    power, shared = (product * integers).sum(0), (product * weights).sum(0)
    fits = (power > 0) & (shared > 0)
    return np.where(fits, shared / np.where(fits, power, 1), scales).astype(np.float32)


def _swept(weights: Matrix, scales: Matrix, integers: Matrix, gram: Matrix, levels: Levels) -> Matrix:
    """The integers of every input rounded anew, given the others."""
    integers = integers.copy()
    for first in range(0, len(weights), BLOCK):
        block = slice(first, min(first + BLOCK, len(weights)))
        inner = gram[block, block]
        pull = gram[block] @ (weights - integers * scales)
        for place, column in enumerate(range(block.start, block.stop)):
            moved = levels.nearest(integers[column] + pull[place] / (scales * inner[place, place]))
            change = (moved - integers[column]) * scales
            if change.any():
                pull -= inner[place, :, None] * change
                integers[column] = moved
    return integers
