"""Weights as sums of signs: one or two binary bases, each with a number of its own for every output.

Weights are rounded to odd integers, in closed form as those of few bits are. -1 and 1 are one base; -3, -1, 1 and 3 are
twice one base plus another. Then every output's numbers are fitted anew by least squares, for the rows it reads.
Sums of binary bases: Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network" (arXiv 1711.11294).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.converters.low_bit.rounding import Levels, round_weights
from multigraft.tensors.arrays import Float64Array

_RIDGE = 1e-9
"""Of a base's power: where two bases are equal, either serves."""


@dataclass(frozen=True)
class Bases:
    """Weights of a layer.

    Attributes:
        signs: -1 and 1 in int8, bases x outputs x inputs.
        multipliers: Float64, bases x outputs.
        error: Squared error per output, of what the rows give.
    """

    signs: npt.NDArray[np.int8]
    multipliers: Float64Array
    error: Float64Array

    @property
    def weights(self) -> Float64Array:
        """Their sum, outputs x inputs."""
        return np.asarray((self.multipliers[:, :, None] * self.signs).sum(0))


def bases_of(weights: Float64Array, covariance: Float64Array, count: int) -> Bases:
    """The signs that give nearly what ``weights`` give for rows of ``covariance``.

    Args:
        weights: Outputs x inputs.
        covariance: Inputs x inputs.
        count: Bases, 1 or 2.
    """
    integers = round_weights(weights, covariance, Levels.odd(count), np.ones(len(weights))).integers
    signs, rest = [], integers.astype(np.int64)
    for place in reversed(range(count)):
        signs.append(np.where(rest < 0, -1, 1))
        rest = rest - signs[-1] * 2**place
    both = np.stack(signs)
    products = both @ covariance
    powers = np.einsum("boi,coi->obc", products, both)
    shared = np.einsum("boi,oi->ob", products, weights)
    ridge = _RIDGE * np.maximum(np.einsum("obb->o", powers), 1e-30)
    multipliers = np.linalg.solve(powers + ridge[:, None, None] * np.eye(count), shared[..., None])[..., 0].T
    off = weights - (multipliers[:, :, None] * both).sum(0)
    return Bases(both.astype(np.int8), multipliers, np.asarray(((off @ covariance) * off).sum(1)))
