"""One layer's refit from a stream of frames: sums alone, pass by pass.

The first pass over the frames solves the layer; where a clamp follows, further passes leave out the errors that it
hides, as :func:`multigraft.refit.ridge.fit_rows` does with all rows at hand. On the same frames both give the same
weights but for rounding, unless a layer has so many positions that a random part of them is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multigraft.refit.linear_layer import HELD_OUT_EVERY, LinearLayer, positions_used
from multigraft.refit.refit_plan import SolvedLayer, Stage
from multigraft.refit.ridge import CLAMP_ROUNDS, RidgeSums, Solution, fit, variance_restored
from multigraft.tensors.arrays import Array, Float32Array

_SUMS = ("xx", "xy", "yy", "x", "y")


class StageSolver:
    """Sums of the pass that is running, and the solution of the one before.

    Args:
        stage: The layer to solve.
        layer: The layer with the weights that the ridge pulls to.
        frames: Frames per pass.
        seed: Picks the positions where not all are used, together with the number of the frame.

    Attributes:
        seen: Frames of this pass so far.
        round: Passes that are finished.
    """

    def __init__(self, stage: Stage, layer: LinearLayer, frames: int, seed: int) -> None:
        self.stage, self.layer, self.frames = stage, layer, frames
        self._seed = seed
        self.prior = np.zeros_like(layer.weight) if stage.is_adapter else layer.weight
        self.round = self.seen = 0
        self._rows = 0
        self._variance = 0.0
        self._solution: Solution | None = None
        self._restart()

    @property
    def rounds(self) -> int:
        """Passes that it takes."""
        return 1 + (CLAMP_ROUNDS if self.stage.bounds else 0)

    @property
    def is_done(self) -> bool:
        """Whether all passes are finished."""
        return self.round == self.rounds

    def _restart(self) -> None:
        self.seen = 0
        takes_bias = self.stage.geometry.takes_bias
        shape = self.prior.shape
        self._parts = {name: RidgeSums.empty(*shape, has_intercept=takes_bias) for name in ("fit", "held")}

    def add(self, tensors: Mapping[str, Array]) -> None:
        """Add a frame.

        Args:
            tensors: What the stage names: (1, *shape), channels first, float32.
        """
        stage, layer = self.stage, self.layer
        wanted, skip = self._left(tensors[stage.wanted]), None
        if stage.skip_now:
            skip = tensors[stage.skip_now]
            wanted = wanted + self._left(tensors[stage.skip_original]) - skip
        positions = layer.rows(wanted).shape[1]
        picked, keep = None, positions_used(layer, positions, self.frames)
        if keep < positions:
            random = np.random.default_rng((self._seed, self.seen))
            picked = random.integers(0, positions, (1, keep))
        design, targets = layer.design(tensors[stage.receives], picked), layer.rows(wanted, picked)
        if self._solution is not None and stage.bounds is not None:
            goal = self._solution.predict(design)
            offset = np.zeros((), design.dtype) if skip is None else layer.rows(skip, picked)
            low, high = (np.array(b, design.dtype) - offset for b in stage.bounds)
            visible = ~(((targets <= low) & (goal <= low)) | ((targets >= high) & (goal >= high)))
            goal[visible] = targets[visible]
            targets = goal
        part = "held" if self.seen % HELD_OUT_EVERY == 0 else "fit"
        self._parts[part].add(design, targets)
        self.seen += 1

    def _left(self, value: Array) -> Array:
        return np.take(value, self.stage.left, axis=self.stage.axis) if self.stage.left else value

    def finish_pass(self) -> None:
        """Solve from the sums of this pass."""
        sums = self._parts["fit"] + self._parts["held"]
        if self._solution is None:
            weight, intercept, strength = fit(self._parts["fit"], self._parts["held"], self.prior)
            self._variance = sums.variance() + 1e-12
        else:
            strength = self._solution.strength
            weight, intercept = sums.solve(self.prior, strength)
        error = max(sums.error(weight, intercept), 0.0) / self._variance
        self._solution = Solution(weight, intercept, strength, error)
        self._rows = sums.rows
        self.round += 1
        if self.is_done and self.stage.restores_variance:
            self._solution = variance_restored(self._solution, sums)
        self._restart()

    def solved(self) -> tuple[SolvedLayer, dict[str, Float32Array]]:
        """How it went, and the weights by key, after the last pass."""
        assert self._solution is not None
        solution = self._solution
        values = self.layer.initializers(solution.weight, solution.intercept)
        weights = {f"{self.stage.layer}/{position}": np.asarray(v, np.float32) for position, v in values.items()}
        return SolvedLayer(self.stage.layer, solution.strength, solution.relative_error, self._rows), weights

    def state(self, is_solved: bool = False) -> dict[str, Array]:
        """Everything that a later run needs to go on, as plain arrays.

        Args:
            is_solved: Put in a solution even before there is one, so that its shapes can be compared.
        """
        numbers = [self.round, self.seen, self._rows, *(p.rows for p in self._parts.values())]
        arrays: dict[str, Array] = {"numbers": np.array(numbers, np.int64)}
        for name, part in self._parts.items():
            arrays |= {f"{name}/{key}": getattr(part, key) for key in _SUMS}
        solution = self._solution
        if solution is None and is_solved:
            solution = Solution(self.prior, np.zeros((len(self.prior), self.prior.shape[2])), 0.0, 0.0)
        if solution is not None:
            arrays |= {"weight": solution.weight, "intercept": solution.intercept}
            arrays["reals"] = np.array([solution.strength, solution.relative_error, self._variance])
        return arrays

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on where :meth:`state` was taken."""
        numbers = [int(n) for n in arrays["numbers"]]
        self.round, self.seen, self._rows = numbers[:3]
        for (name, part), rows in zip(self._parts.items(), numbers[3:], strict=True):
            part.rows = rows
            for key in _SUMS:
                setattr(part, key, arrays[f"{name}/{key}"])
        if "reals" in arrays:
            strength, error, self._variance = map(float, arrays["reals"])
            self._solution = Solution(arrays["weight"], arrays["intercept"], strength, error)
