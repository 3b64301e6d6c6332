"""Noise on sums over a block of frames: the discrete Gaussian mechanism, drawn and accounted for by OpenDP.

The sums are integers, and so is the noise (Canonne, Kamath and Steinke, NeurIPS 2020): nothing of a frame hides in the
last digits of a float. How much noise an (epsilon, delta) takes is what OpenDP's own accounting says, by way of
zero-concentrated differential privacy.

A block gets noise once, and is kept with it. Every frame is in one block of one store: releases together promise what
each promises, and there is nothing that could be averaged over.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import Any

import numpy as np

from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.statistics import entries
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.noise import Bounds, Noise, Privacy, length_of, sensitivity
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Tally

CHUNK = 1 << 14
"""Sums that get noise in one call: OpenDP holds each as a Python number. Noise of one sum does not depend on others."""

_LEAST_SCALE, _MOST_SCALE = 0.05, 1e4
"""Over the sensitivity: below and above what any (epsilon, delta) that may be asked for takes."""


def opendp() -> Any:
    """OpenDP.

    Raises:
        MissingDependencyError: It is not installed, or broken.
    """
    try:
        module: Any = importlib.import_module("opendp.prelude")
    except (ImportError, OSError, AttributeError) as error:
        raise MissingDependencyError(
            f"noise in statistics needs OpenDP, which is {how_missing(error)}", repair(error, install_extra("privacy"))
        ) from error
    module.enable_features("contrib")
    return module


@functools.cache
def scale_of(privacy: Privacy, taps: int) -> float:
    """Standard deviation of the noise on each sum, in whole numbers.

    Raises:
        MissingDependencyError: OpenDP is not installed, or broken.
    """
    dp = opendp()
    moved = sensitivity(taps)

    def accounted(scale: float) -> Any:
        return dp.c.make_fix_delta(dp.c.make_zCDP_to_approxDP(_mechanism(dp, scale)), privacy.delta)

    found: float = dp.binary_search_param(
        accounted, d_in=moved, d_out=(privacy.epsilon, privacy.delta), T=float,
        bounds=(_LEAST_SCALE * moved, _MOST_SCALE * moved),
    )  # fmt: skip
    return found


def noised(block: Statistics, privacy: Privacy, bounds: Bounds) -> Statistics:
    """A block with noise: the bounded sums alone, and the numbers of frames.

    Args:
        block: What a release adds; its bounded sums are exact.
        privacy: How much.
        bounds: What a frame added at most.

    Raises:
        MissingDependencyError: OpenDP is not installed, or broken.
    """
    dp = opendp()
    scale = scale_of(privacy, len(bounds))
    mechanism = _mechanism(dp, scale)
    exact = block.overall.sums.get(entries.BOUNDED) or ExactSums((length_of(bounds),))
    values = exact.whole()
    drawn = [mechanism(values[start : start + CHUNK].tolist()) for start in range(0, len(values), CHUNK)]
    made = Statistics(block.subject, block.minimum_frames)
    made.overall = _sizes(block.overall)
    made.overall.sums[entries.BOUNDED] = ExactSums.of_whole(np.concatenate([np.array(d, np.int64) for d in drawn]))
    made.places = {place: _sizes(tally) for place, tally in block.places.items()}
    name = f"discrete Gaussian by OpenDP {importlib.metadata.version('opendp')}"
    made.noise = Noise(privacy.epsilon, privacy.delta, name, block.frames, scale**2, bounds)
    return made


def _mechanism(dp: Any, scale: float) -> Any:
    return dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float), scale)


def _sizes(tally: Tally) -> Tally:
    sizes = Tally()
    sizes.frames, sizes.minibatches = tally.frames, tally.minibatches
    return sizes
