"""From frames to what a minibatch adds to the statistics.

Per frame, representations are copied out of the interpreter (or projected, where all of a minibatch would not fit in
memory); everything else is computed once per minibatch, on arrays that lie together.

**Projection.** A representation ``x`` of ``d`` features becomes ``k`` sums of its features with random signs: feature
``i`` is added to sum ``i mod k``. Products of two projections then have the true product as their mean, but HSIC(K, K)
is too high by about ``e / k`` of itself, ``e`` being the effective dimension of the representations (squared trace over
squared norm of their Gram matrix), so that a CKA comes out too low: see :func:`projection_error`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.calibration import picture, uncertainty
from multigraft.calibration.cross_moments import CrossMoments
from multigraft.calibration.inner_ranges import InnerRanges
from multigraft.calibration.tapped import TappedModel
from multigraft.errors import InputError, UsageError
from multigraft.preprocessing import Frame
from multigraft.similarity import FEATURE_BLOCK, MIN_BATCH, SimilaritySums
from multigraft.statistics import Minibatch, Subject, Tap
from multigraft.tally import Terms
from multigraft.value_histogram import count

MINIBATCH = 32
"""Frames per minibatch: what a power cut may cost. CKA does not depend on it but for noise."""

MEMORY_BYTES = 64 * 2**20
"""Default bound for the representations of a minibatch."""

LEAST_PROJECTED = 256
DETAIL_EVERY = 4
"""Channel moments, ranges and histograms are of every fourth frame: they settle long before similarity does."""

SAMPLED_VALUES = 1024
"""Values per tap and frame that go into the histogram of values; ranges are of all values of the frame."""

SIGN_BLOCKS = 8
DRIFT_FEATURES = 4
EFFECTIVE_DIMENSION = 200
"""Assumed by :func:`projection_error`. With it the figure is above every difference that was measured on the demo's 15
cut points: 0.090, 0.037, 0.031 and 0.006 at 765, 1546, 3109 and 5183 features (of 12,544), 2,048 frames, two seeds."""

Real = npt.NDArray[np.float32]


def plan_projection(taps: Sequence[Tap], minibatch: int, memory_bytes: int) -> dict[str, int]:
    """Tap to features after projection, for taps that do not fit whole: the greatest common limit that fits.

    Raises:
        UsageError: Not even 256 features per tap fit.
    """
    # Whole representations also lie there a second time, as they are, for every fourth frame.
    room = memory_bytes // (4 * (minibatch + -(-minibatch // DETAIL_EVERY)))
    if sum(t.features for t in taps) <= room:
        return {}
    low, high = 0, max(t.features for t in taps)
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(min(t.features, middle) for t in taps) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    if low < LEAST_PROJECTED:
        raise UsageError(
            f"{len(taps)} taps of {minibatch} frames do not fit into {memory_bytes >> 20} MiB",
            "allow more memory or give a smaller minibatch",
        )
    return {t.name: low for t in taps if t.features > low}


def projection_error(features: int) -> float:
    """About the most that a CKA is too low by when one tap is projected to ``features``."""
    return min(1.0, EFFECTIVE_DIMENSION / (2 * features)) if features else 0.0


class Sampler:
    """Runs frames and gathers minibatches.

    Args:
        model: What to run.
        minibatch: Frames per minibatch, at least 4.
        memory_bytes: Bound for the representations of a minibatch.
        seed: Of the projections; runs that are to be merged need the same.

    Attributes:
        subject: What its minibatches are about.
        pending: Frames of the minibatch that is being gathered.
        number: Minibatches before that one; to be set where a run is resumed.
    """

    def __init__(
        self, model: TappedModel, minibatch: int = MINIBATCH, memory_bytes: int = MEMORY_BYTES, seed: int = 0
    ) -> None:
        if minibatch < MIN_BATCH:
            raise UsageError(f"a minibatch of {minibatch} frames", f"give {MIN_BATCH} or more")
        self.minibatch = minibatch
        self.pending = 0
        self.number = 0
        self._model = model
        projected = plan_projection(model.taps, minibatch, memory_bytes)
        self.subject: Subject = model.subject(projected, seed)
        self._taps = [_Tap(t, minibatch, model.arrays[t.name], (seed, 0, i)) for i, t in enumerate(self.subject.taps)]
        lasts = {t.network: t for t in self.subject.taps}
        self._drift = {
            name: np.random.default_rng((seed, 1, number)).standard_normal((t.shape[-1], DRIFT_FEATURES))
            / math.sqrt(t.shape[-1])
            for number, (name, t) in enumerate(lasts.items())
        }
        self._lasts = {name: next(g for g in self._taps if g.tap.name == t.name) for name, t in lasts.items()}
        self._outputs = {
            o: np.empty((minibatch, model.arrays[o].size), np.float32) for n in model.networks for o in n.outputs
        }
        self._inputs = {n.input: [math.inf, -math.inf] for n in model.networks}
        self._pictures: list[tuple[float, npt.NDArray[np.uint8]]] = []
        self._inner = InnerRanges(model)
        self._cross = CrossMoments(model, self.subject)

    def add(self, frame: Frame, signature: picture.Signature | None = None) -> Minibatch | None:
        """Run all networks on a frame; the minibatch it completes, or None.

        Args:
            frame: uint8, HxW or HxWx3.
            signature: Of the frame, where it is known already.

        Raises:
            InputError: The frame has another form, or a network gives NaN or infinity.
        """
        position, model = self.pending, self._model
        model.run(frame)
        for tap in self._taps:
            tap.take(position)
        for name, held in self._outputs.items():
            held[position] = model.arrays[name].reshape(-1)
        if position % DETAIL_EVERY == 0:
            for name, limits in self._inputs.items():
                array = model.arrays[name]
                limits[0], limits[1] = min(limits[0], float(array.min())), max(limits[1], float(array.max()))
        if position == 0:
            self._inner.look()
        self._cross.look(self.number)
        light = float((picture.signature(frame) if signature is None else signature).mean())
        self._pictures.append((light, picture.centre(frame).copy()))
        self.pending += 1
        return self.flush() if self.pending == self.minibatch else None

    def margin(self) -> float:
        """Least top-1 margin (0..1) of all classifiers on the frame added last; 1 where there is no classifier."""
        position = (self.pending or self.minibatch) - 1
        classifiers = [n for n in self._model.networks if n.kind == "classification"]
        margins = [
            uncertainty.margin_and_entropy(self._outputs[n.outputs[0]][position : position + 1])[0][0]
            for n in classifiers
        ]
        return float(min(margins, default=1.0))

    def discard(self) -> None:
        """Forget the frames gathered so far."""
        self.pending = 0
        self._pictures.clear()
        self._inner.discard()
        self._cross.discard()
        for limits in self._inputs.values():
            limits[:] = [math.inf, -math.inf]

    def flush(self) -> Minibatch | None:
        """The minibatch of the frames gathered so far; None if they are fewer than 4, which are forgotten."""
        frames = self.pending
        if frames < MIN_BATCH:
            self.discard()
            return None
        overall, local = Terms(frames), Terms(frames)
        for tap in self._taps:
            tap.summarise(frames, overall)
        for name, held in self._outputs.items():
            _limit(overall, name, held[:frames].min(), held[:frames].max())
        for name, limits in self._inputs.items():
            _limit(overall, name, *limits)
        self._describe(frames, local)
        self._inner.summarise(overall)
        self._cross.summarise(overall)
        overall.counts["detailed"] = np.array(-(-frames // DETAIL_EVERY), np.int64)
        grams = np.empty((len(self._taps), frames, frames))
        for tap, gram in zip(self._taps, grams, strict=True):
            tap.gram(frames, gram)
        similarity = SimilaritySums([t.name for t in self.subject.taps])
        similarity.add_grams(grams)
        self.discard()
        self.number += 1
        return Minibatch(overall, local, similarity)

    def _describe(self, frames: int, local: Terms) -> None:
        """Histograms and drift features of the minibatch."""
        light = np.array([light for light, _ in self._pictures])
        sharp = np.concatenate([picture.sharpness(c) for c in _of_one_shape([c for _, c in self._pictures])])
        local.counts["brightness"] = np.bincount(picture.brightness_bin(light), minlength=picture.BRIGHTNESS_BINS)
        local.counts["sharpness"] = np.bincount(picture.sharpness_bin(sharp), minlength=picture.SHARPNESS_BINS)
        _drift(local, "image", np.array([light.mean() / 255, np.log2(1 + sharp).mean()]))
        for network in self._model.networks:
            features = [self._lasts[network.name].mean(frames) @ self._drift[network.name]]
            if network.kind == "classification":
                margin, entropy = uncertainty.margin_and_entropy(self._outputs[network.outputs[0]][:frames])
                local.counts[f"margin/{network.name}"] = uncertainty.histogram(margin)
                local.counts[f"entropy/{network.name}"] = uncertainty.histogram(entropy)
                features.append(np.array([margin.mean(), entropy.mean()]))
            _drift(local, network.name, np.concatenate(features))


class _Tap:
    """One tap's part of the minibatch.

    Rows of ``_rows`` are differences to the minibatch's first frame: Gram matrices are centred anyway, and without the
    common part they keep their digits in float32.
    """

    def __init__(self, tap: Tap, minibatch: int, source: Real, seed: tuple[int, ...]) -> None:
        self.tap = tap
        self._source = source.reshape(-1)
        if not np.shares_memory(self._source, source):
            raise UsageError(f"tap {tap.name} is not contiguous", "prepare the taps bundle again")
        channels = tap.shape[-1]
        self._positions = tap.features // channels
        self._average: Real = np.full(self._positions, 1 / self._positions, np.float32)
        self._rows: Real = np.zeros((minibatch, tap.projected or tap.features), np.float32)
        self._first: Real = np.zeros(tap.projected or tap.features, np.float32)
        detailed = -(-minibatch // DETAIL_EVERY)
        self._raw: Real = np.empty((0 if tap.projected else detailed, tap.features), np.float32)
        # A stride that shares no factor with the channels visits all of them.
        self._stride = max(1, tap.features // SAMPLED_VALUES)
        while self._stride > 1 and math.gcd(self._stride, channels) > 1:
            self._stride += 1
        self._means: Real = np.empty((detailed, channels), np.float32)
        self._squares: Real = np.empty((detailed, channels), np.float32)
        self._values: Real = np.empty((detailed, len(self._source[:: self._stride])), np.float32)
        self._limits = np.empty((detailed, 2))
        self._chunks: list[tuple[Real, Real]] = []
        self._product: Real = np.empty((SIGN_BLOCKS, tap.projected), np.float32)
        if tap.projected:
            self._chunks = _signed_chunks(self._source, tap.projected, np.random.default_rng(seed))

    def take(self, position: int) -> None:
        """Copy or project what the interpreter holds now."""
        source = self._source
        if self.tap.projected:
            source = self._projection()
        if position == 0:
            self._first[:] = source
        else:
            np.subtract(source, self._first, out=self._rows[position])
        if position % DETAIL_EVERY == 0:
            if self.tap.projected:
                detail = slice(position // DETAIL_EVERY, position // DETAIL_EVERY + 1)
                self._look(self._source[None], detail)
            else:
                self._raw[position // DETAIL_EVERY] = source

    def _projection(self) -> Real:
        row: Real = np.zeros(self.tap.projected, np.float32)
        for source, signs in self._chunks:
            product = self._product[: len(source), : source.shape[1]]
            # Three times as fast as einsum.
            np.multiply(source, signs, out=product)
            row[: source.shape[1]] += np.add.reduce(product, axis=0)
        return row

    def _look(self, raw: Real, detail: slice) -> None:
        """Moments, values and limits of frames, one per row."""
        table = raw.reshape(len(raw), self._positions, -1)
        np.matmul(self._average, table, out=self._means[detail])
        np.matmul(self._average, np.square(table), out=self._squares[detail])
        self._values[detail] = raw[:, :: self._stride]
        self._limits[detail, 0], self._limits[detail, 1] = raw.min(axis=1), raw.max(axis=1)

    def gram(self, frames: int, out: npt.NDArray[np.float64]) -> None:
        """Write the centred Gram matrix (frames x frames) of the minibatch."""
        self._rows[0] = 0
        out[...] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, self._rows.shape[1], FEATURE_BLOCK):
                block = self._rows[:frames, start : start + FEATURE_BLOCK]
                out += block @ block.T
            out -= out.mean(axis=0)
            out -= out.mean(axis=1)[:, None]
        if not np.isfinite(out).all():
            raise InputError(f"tap {self.tap.name} holds NaN or infinity", "check the network and its input")

    def mean(self, frames: int) -> npt.NDArray[np.float64]:
        """Mean of each channel over the detailed frames of the minibatch, after :meth:`summarise`."""
        mean: npt.NDArray[np.float64] = self._means[: -(-frames // DETAIL_EVERY)].mean(axis=0, dtype=np.float64)
        return mean

    def summarise(self, frames: int, terms: Terms) -> None:
        """Add channel sums, ranges and the histogram of values."""
        name, detailed = self.tap.name, -(-frames // DETAIL_EVERY)
        if not self.tap.projected:
            self._look(self._raw[:detailed], slice(0, detailed))
        terms.sums[f"channel/{name}"] = self._means[:detailed].sum(axis=0, dtype=np.float64) * self._positions
        terms.sums[f"square/{name}"] = self._squares[:detailed].sum(axis=0, dtype=np.float64) * self._positions
        terms.counts[f"values/{name}"] = count(self._values[:detailed])
        _limit(terms, name, self._limits[:detailed, 0].min(), self._limits[:detailed, 1].max())


def _signed_chunks(source: Real, k: int, random: np.random.Generator) -> list[tuple[Real, Real]]:
    """Views of ``source`` as blocks x k, each with its signs of the same shape.

    The signs of a chunk are a window, at a random place, of one short vector that stays in the cache: reading a sign
    of its own for every feature would cost as much as reading the features.
    """
    longest = SIGN_BLOCKS * k
    signs: Real = (random.integers(0, 2, 2 * longest) * 2 - 1).astype(np.float32)
    chunks = []
    for start in range(0, len(source), longest):
        part = source[start : start + longest]
        whole = len(part) // k * k
        for piece, width in ((part[:whole], k), (part[whole:], len(part) - whole)):
            if piece.size:
                offset = int(random.integers(0, longest))
                window = signs[offset : offset + piece.size]
                chunks.append((piece.reshape(-1, width), window.reshape(-1, width)))
    return chunks


def _of_one_shape(arrays: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """The arrays stacked; one by one where a source mixes shapes."""
    if len({a.shape for a in arrays}) == 1:
        return [np.stack(arrays)]
    return [a[None] for a in arrays]


def _limit(terms: Terms, name: str, low: Any, high: Any) -> None:
    terms.lows[name], terms.highs[name] = np.array(low, np.float64), np.array(high, np.float64)


def _drift(terms: Terms, name: str, features: npt.NDArray[np.float64]) -> None:
    """First and second moments of a minibatch's mean features."""
    terms.sums[f"drift/{name}"] = features
    terms.sums[f"drift2/{name}"] = np.outer(features, features)
