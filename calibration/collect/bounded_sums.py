"""Sums to which one frame adds little, whatever it shows: those that noise can hide a frame in.

Of each tap a frame adds a few numbers: sums of the tap's features with random signs, a *sketch* (Charikar, Chen and
Farach-Colton, ICALP 2002), which keeps products of representations in the mean. The vector of these numbers is taken
from a public centre, cut off at a public radius, and rounded towards zero to whole numbers, so that it is never longer
than :data:`multigraft.statistics.noise.UNIT`.

Centre and radius come from made-up frames, the same on every device: pictures whose spectrum falls as those of natural
scenes do (Field, J. Opt. Soc. Am. A 4, 1987), of many contrasts and lights, or random rows. No frame of the source has
a part in them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.statistics import entries
from multigraft.statistics.noise import UNIT, TapBounds, numbers_of
from multigraft.statistics.subject import Tap
from multigraft.statistics.tally import Terms
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.arrays import Array, Float32Array, Float64Array
from multigraft.tensors.preparation import Frame, Preparation, random_frame

MOST_PER_TAP, MOST_TOGETHER = 64, 640
"""Numbers of a tap and of all taps. More make a sketch truer and take more noise: their products grow as the square."""

MOST_TAPS = 16
"""Taps that are summed up: the noise grows with their number. Of more, every network's are taken at even steps."""

MOST_FEATURES = 4096
"""Features of a tap that a sketch sums up; of larger taps, so many in random places."""

MADE_UP = 64
"""Frames that centre and radius come from."""

REACH = 1.5
"""Radius over the root mean square distance of made-up frames from their centre. Real ones of a source that has little
in common with them are as far away as that; a larger radius takes more noise, a smaller one cuts more frames off."""

_SEED = 7


@dataclass(frozen=True)
class _Sketch:
    picked: npt.NDArray[np.intp]
    signs: Float32Array
    starts: npt.NDArray[np.intp]

    def of(self, source: Float32Array) -> Float32Array:
        """The numbers of one tap: float32."""
        sums: Float32Array = np.add.reduceat(source.take(self.picked) * self.signs, self.starts)
        return sums


class BoundedSums:
    """Sums of one minibatch.

    Args:
        runner: Runs the networks; made-up frames are run at once.
        taps: All.

    Attributes:
        bounds: What a frame adds at most, of the taps that are summed up.
    """

    def __init__(self, runner: TapsRunner, taps: tuple[Tap, ...]) -> None:
        taps = _chosen(taps)
        self._sources = [runner.arrays[tap.name].reshape(-1) for tap in taps]
        most = max(1, min(MOST_PER_TAP, MOST_TOGETHER // len(taps)))
        self._sketches = [_sketch(tap, number, most) for number, tap in enumerate(taps)]
        self._edges = np.cumsum([0, *(len(s.starts) for s in self._sketches)])
        self._rows: list[Float32Array] = []
        for frame in _made_up_frames(runner):
            runner.run(frame)
            self.look()
        rows = np.array(self._rows, np.float64)
        self.discard()
        self._centre: Float64Array = rows.mean(axis=0)
        self.bounds: dict[str, TapBounds] = {}
        for tap, sketch, (start, end) in zip(taps, self._sketches, self._parts, strict=True):
            spread = math.sqrt(float(np.square(rows[:, start:end] - self._centre[start:end]).sum(axis=1).mean()))
            is_sketch = len(sketch.picked) > len(sketch.starts)
            self.bounds[tap.name] = TapBounds(len(sketch.starts), _rounded(REACH * spread), is_sketch)

    @property
    def _parts(self) -> list[tuple[int, int]]:
        edges = self._edges.tolist()
        return list(itertools.pairwise(edges))

    def look(self) -> None:
        """Note the frame that was run last."""
        self._rows.append(np.concatenate([s.of(a) for s, a in zip(self._sketches, self._sources, strict=True)]))

    def summarise(self, terms: Terms) -> None:
        """Add what was seen since the last call, and forget it."""
        if self._rows:
            added = self.added(np.array(self._rows))
            first, second = np.triu_indices(numbers_of(self.bounds))
            # Whole numbers this small are exact in float64, in any order of adding.
            products = (added.T @ added)[first, second]
            terms.sums[entries.BOUNDED] = np.concatenate([UNIT * added.sum(axis=0), products])
        self.discard()

    def added(self, rows: Array) -> Float64Array:
        """What frames add.

        Args:
            rows: Frames x numbers: sketches.

        Returns:
            Frames x numbers, whole numbers; those of a tap together no longer than UNIT.
        """
        from_centre = rows.astype(np.float64) - self._centre
        whole = np.zeros_like(from_centre)
        for bound, (start, end) in zip(self.bounds.values(), self._parts, strict=True):
            part = from_centre[:, start:end] * (UNIT / bound.radius)
            part[~np.isfinite(part).all(axis=1)] = 0
            length = np.linalg.norm(part, axis=1, keepdims=True)
            # A little less than needed, so that rounding never leaves a vector too long.
            part *= np.minimum(1, UNIT * (1 - 1e-12) / np.maximum(length, 1))
            whole[:, start:end] = np.trunc(part)
        return whole

    def discard(self) -> None:
        """Forget what was seen."""
        self._rows = []


def _chosen(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
    networks = dict.fromkeys(tap.network for tap in taps)
    share = max(2, MOST_TAPS // len(networks))
    kept = set()
    for network in networks:
        own = [tap.name for tap in taps if tap.network == network]
        kept |= {own[int(i)] for i in np.linspace(0, len(own) - 1, min(share, len(own))).round()}
    return tuple(tap for tap in taps if tap.name in kept)


def _sketch(tap: Tap, number: int, most: int) -> _Sketch:
    if tap.features <= most:
        every = np.arange(tap.features)
        return _Sketch(every, np.ones(tap.features, np.float32), every)
    random = np.random.default_rng((_SEED, number))
    picked = random.permutation(tap.features)[:MOST_FEATURES].astype(np.intp)
    # Squares over all features, not over those that were picked.
    size = math.sqrt(tap.features / len(picked))
    signs = random.choice(np.array([-size, size], np.float32), len(picked))
    return _Sketch(picked, signs, np.arange(most) * len(picked) // most)


def _rounded(radius: float) -> float:
    """Up to an eighth of a doubling: interpreters, which differ in the last digits, then agree."""
    if not 0 < radius < math.inf:
        return 1.0
    return float(2.0 ** (math.ceil(8 * math.log2(radius)) / 8))


def _made_up_frames(runner: TapsRunner) -> list[Frame]:
    preparations = [source.preprocessing for source in runner.engine.manifest.inputs]
    random = np.random.default_rng(_SEED)
    largest = max(preparations, key=_size)
    if isinstance(largest, ArrayPreparation):
        return [random_frame(largest, random) for _ in range(MADE_UP)]
    return [_picture(largest.height, largest.width, random) for _ in range(MADE_UP)]


def _size(preparation: Preparation) -> int:
    return 0 if isinstance(preparation, ArrayPreparation) else preparation.height * preparation.width


def _picture(height: int, width: int, random: np.random.Generator) -> Frame:
    """Height x width x 3: clouds of all sizes; the fall of their spectrum, light, contrast and colour are random."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1 / max(height, width)
    fall = random.uniform(0.5, 2.0)
    light, contrast, colour = random.uniform(0, 255), random.uniform(16, 96), random.uniform(0, 0.5)

    def clouds() -> Float64Array:
        noise = np.fft.rfft2(random.standard_normal((height, width))) / frequency**fall
        picture = np.fft.irfft2(noise, (height, width))
        return np.asarray((picture - picture.mean()) / max(float(picture.std()), 1e-9), np.float64)

    grey = clouds()
    channels = [light + contrast * ((1 - colour) * grey + colour * clouds()) for _ in range(3)]
    picture: npt.NDArray[np.uint8] = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return picture
