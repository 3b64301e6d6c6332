"""What the choice and the solution of one layer's channels need of the frames: Gram matrices, never activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.thinning.hidden import Hidden, mixing
from multigraft.refit.linear_layer import HELD_OUT_EVERY, positions_used
from multigraft.refit.ridge import RidgeSums, fit
from multigraft.tensors.arrays import Float64Array

CHUNK = 40
"""Frames run at once; a multiple of HELD_OUT_EVERY."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LayerSums:
    """Sums of what a reader reads now and of what it originally gave.

    Attributes:
        train: Rows that solve.
        test: Rows that choose the strength of the ridge.
        prior: The weights as they are, (1, inputs, outputs).
        channels: That the inputs belong to, each with as many inputs as the kernel has elements.
        variance: Of what the reader's output, or the residual sum that it is part of, originally was.
    """

    train: RidgeSums
    test: RidgeSums
    prior: Float64Array
    channels: int
    variance: float

    def covariance(self) -> Float64Array:
        """(channels, channels) of the values read, at the middle of the kernel."""
        both = self.train + self.test
        size = both.xx.shape[1] // self.channels
        middle = np.arange(self.channels) * size + size // 2
        mean = both.x[0][middle] / both.rows
        result: Float64Array = both.xx[0][np.ix_(middle, middle)] / both.rows - np.outer(mean, mean)
        return result

    def importance(self) -> Float64Array:
        """(channels,) norms of the weights that read each channel."""
        norms: Float64Array = np.sqrt((self.prior[0] ** 2).reshape(self.channels, -1).sum(1))
        return norms

    def solve(self, kept: Indices) -> tuple[Float64Array, Float64Array, float]:
        """Weights and intercept that read ``kept`` channels alone, and the error relative to :attr:`variance`."""
        size = self.prior.shape[1] // self.channels
        inputs = (kept[:, None] * size + np.arange(size)).reshape(-1)
        train, test = _of(self.train, inputs), _of(self.test, inputs)
        weight, intercept, _ = fit(train, test, self.prior[:, inputs])
        return weight, intercept, max((train + test).error(weight, intercept), 0.0) / self.variance


def layer_sums(original: Network, now: Network, hidden: Hidden, frames: Frames, seed: int = 0) -> LayerSums:
    """Sum over the frames what ``now`` gives the reader and what ``original`` made of it.

    Where a residual sum follows, the target is what that sum originally was less what is added now, so that errors of
    the layers before are mended, too.
    """
    layer = mixing(now, now.nodes[hidden.reader])
    assert layer is not None
    train, test = (RidgeSums.empty(*layer.weight.shape) for _ in range(2))
    whole = RidgeSums.empty(1, 0, layer.weight.shape[2])
    rng = np.random.default_rng(seed)
    for start in range(0, len(frames), CHUNK):
        x = now.prepare(frames[start : start + CHUNK])
        was = original.run(x, [hidden.total])[hidden.total]
        names = [hidden.tensor, *([hidden.skip] if hidden.skip else [])]
        given = now.run(x, names)
        goal = was - given[hidden.skip] if hidden.skip else was
        positions = layer.rows(goal[:1]).shape[1]
        keep = positions_used(layer, positions, len(frames))
        picked = rng.integers(0, positions, (len(x), keep)) if keep < positions else None
        design, rows = layer.design(given[hidden.tensor], picked), layer.rows(goal, picked)
        whole.add(np.zeros((1, rows.shape[1], 0), np.float32), layer.rows(was, picked))
        held_out = (np.arange(design.shape[1]) // keep) % HELD_OUT_EVERY == 0
        train.add(design[:, ~held_out], rows[:, ~held_out])
        test.add(design[:, held_out], rows[:, held_out])
    variance = float(np.sum(whole.yy - whole.y**2 / whole.rows)) + 1e-12
    return LayerSums(train, test, layer.weight, hidden.channels, variance)


def _of(sums: RidgeSums, inputs: Indices) -> RidgeSums:
    grid = np.ix_(inputs, inputs)
    return RidgeSums(sums.xx[0][grid][None], sums.xy[:, inputs], sums.yy, sums.x[:, inputs], sums.y, sums.rows)
