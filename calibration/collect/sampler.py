"""From frames, or the crops of frames, to what a minibatch adds to the statistics.

Per frame, a sample of every representation is copied out of the interpreter
(:mod:`multigraft.calibration.collect.tap_sample`); everything else is computed once per minibatch, on arrays that lie
together.

Crops are samples as whole frames are. But those of one frame are of one scene, so that every cell of the statistics
counts the frames that its crops come from, each once. All crops of a frame go into the same minibatch, which may
therefore be a few crops larger than asked for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multigraft.calibration.collect import frame_quality, row_quality, uncertainty
from multigraft.calibration.collect.bounded_sums import BoundedSums
from multigraft.calibration.collect.cross_moments import CrossMoments
from multigraft.calibration.collect.inner_ranges import InnerRanges
from multigraft.calibration.collect.tap_sample import (
    DETAIL_EVERY,
    TapSample,
    limit,
    make_readers,
    plan_samples,
)
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.defaults import FEATURES, MEMORY_BYTES, MINIBATCH
from multigraft.errors import InputError, UsageError
from multigraft.statistics import entries
from multigraft.statistics.noise import Bounds
from multigraft.statistics.similarity import FEATURE_BLOCK, MIN_BATCH, SimilaritySums
from multigraft.statistics.statistics import Minibatch
from multigraft.statistics.subject import Subject, Tap
from multigraft.statistics.tally import Terms
from multigraft.tensors.arrays import Array, Float32Array, Float64Array
from multigraft.tensors.preparation import Frame

COMPARED = 64
"""Frames compared with each other at most: a minibatch consists of parts of so many. The work grows with it, and the
error of a CKA falls with the root of it times all frames."""

DRIFT_FEATURES = 4
STACKED_BYTES = 1 << 17
"""Bytes of pictures that are looked at in one go: what stays in the cache."""


class Sampler:
    """Runs frames, or crops of frames, and gathers minibatches.

    Args:
        runner: What to run.
        minibatch: Frames, or crops, per minibatch, at least 4.
        memory_bytes: Bound for what is kept of the representations of a minibatch.
        features: Features per sample of a large tap at most; runs that are to be merged need the same.
        site: Where the frames come from; each site draws samples of its own, so that their errors average out.
        seed: Seed of the features that drift is tested on; runs that are to be merged need the same.
        is_bounded: Whether sums are kept that noise can hide a frame in.
        beside: Taps of other views, for which ``memory_bytes`` have to do, too.

    Attributes:
        subject: What its minibatches are about.
        pending: Frames, or crops, of the minibatch that is being gathered.
        most: Crops of a frame at most.
        number: Number of that minibatch. What is sampled depends on it alone: a run that resumes has to set it.
    """

    def __init__(
        self, runner: TapsRunner, minibatch: int = MINIBATCH, memory_bytes: int = MEMORY_BYTES,
        features: int = FEATURES, site: str = "", seed: int = 0, is_bounded: bool = False, beside: Sequence[Tap] = (),
    ) -> None:  # fmt: skip
        if minibatch < MIN_BATCH:
            raise UsageError(f"a minibatch of {minibatch} frames", f"give {MIN_BATCH} or more")
        self.minibatch = minibatch
        self.pending = self.number = 0
        self._runner = runner
        crops = runner.view.crops
        self.most = min(crops[-1].top, minibatch) if crops else 1
        capacity = minibatch + self.most - 1
        self._origins: list[int] = []
        self._crossed: set[int] = set()
        self._last = 0
        self._site = zlib.crc32(site.encode())
        sampled = plan_samples((*runner.taps, *beside), min(minibatch, COMPARED), memory_bytes, features)
        own = {tap.name: sampled[tap.name] for tap in runner.taps if tap.name in sampled}
        self.subject: Subject = runner.subject(own, seed)
        self._part = part = min(minibatch, COMPARED)
        self._taps = [TapSample(t, capacity, runner.arrays[t.name]) for t in self.subject.taps]
        self._readers = make_readers(self._taps, part)
        block = part * min(FEATURE_BLOCK, max(t.width for t in self._taps))
        self._scratch: Float32Array = np.empty(max(block, *(t.features for t in self.subject.taps)), np.float32)
        self._sampled = [i for i, t in enumerate(self.subject.taps) if t.sampled]
        self._grams: Float64Array = np.empty(len(self._taps) * part**2)
        self._samples: Float64Array = np.empty(2 * len(self._sampled) * part**2)
        self._similarity = self._no_similarity()
        lasts = {t.network: t for t in self.subject.taps}
        self._drift = {
            name: np.random.default_rng((seed, 1, number)).standard_normal((t.shape[-1], DRIFT_FEATURES))
            / math.sqrt(t.shape[-1])
            for number, (name, t) in enumerate(lasts.items())
        }
        self._lasts = {name: next(g for g in self._taps if g.tap.name == t.name) for name, t in lasts.items()}
        self._outputs = {
            o: (np.empty((capacity, runner.arrays[o].size), np.float32), runner.arrays[o].reshape(-1))
            for n in runner.networks
            for o in n.outputs
        }
        self._inputs = {n.input: [math.inf, -math.inf] for n in runner.networks}
        self._pictures: list[tuple[frame_quality.Signature, npt.NDArray[np.uint8]]] = []
        self._rows: list[tuple[float, float]] = []
        self._inner = InnerRanges(runner)
        self._cross = CrossMoments(runner, self.subject, self._site)
        self._bounded = BoundedSums(runner, self.subject.taps) if is_bounded else None

    def add(self, frame: Frame, signature: frame_quality.Signature | None = None) -> Minibatch | None:
        """Run all networks on a frame; the minibatch it completes, or None.

        Args:
            frame: A picture (uint8, HxW or HxWx3), or a row.
            signature: The frame's signature, where it is known already.

        Raises:
            InputError: The frame has another form, or a network gives NaN or infinity.
        """
        self._take(frame, signature, self._origins[-1] + 1 if self._origins else 0)
        return self._finished()

    def add_crops(self, crops: Sequence[Frame]) -> Minibatch | None:
        """The same with the crops of one frame.

        Args:
            crops: At most :attr:`most` pictures (uint8, HxW or HxWx3); none for a frame in which nothing was found,
                which adds nothing.

        Raises:
            UsageError: They are more.
            InputError: As :meth:`add`.
        """
        if len(crops) > self.most:
            raise UsageError(f"{len(crops)} crops of a frame", f"give at most {self.most}")
        origin = self._origins[-1] + 1 if self._origins else 0
        for crop in crops:
            self._take(crop, None, origin)
        return self._finished()

    def _finished(self) -> Minibatch | None:
        return self.flush() if self.pending >= self.minibatch else None

    def _take(self, frame: Frame, signature: frame_quality.Signature | None, origin: int) -> None:
        position, runner = self.pending, self._runner
        part, row = divmod(position, self._part)
        if row == 0:
            random = np.random.default_rng((self._site, self.number, part))
            # Tap by tap, in an order that does not depend on where they lie in memory.
            for tap in self._taps:
                tap.draw(random)
            for reader in self._readers:
                reader.follow()
        runner.run(frame)
        for reader in self._readers:
            reader.take(row)
        for rows, array in self._outputs.values():
            rows[position] = array
        if position % DETAIL_EVERY == 0:
            for tap in self._taps:
                tap.look(position // DETAIL_EVERY, self._scratch)
            for name, limits in self._inputs.items():
                array = runner.arrays[name]
                limits[0], limits[1] = min(limits[0], float(array.min())), max(limits[1], float(array.max()))
        if position == 0:
            self._inner.look()
        if self._cross.look(self.number, position):
            self._crossed.add(origin)
        if self._bounded is not None:
            self._bounded.look()
        if runner.takes_rows:
            self._rows.append(row_quality.level_and_roughness(frame))
        else:
            means = frame_quality.signature(frame) if signature is None else signature
            self._pictures.append((means, frame_quality.centre(frame).copy()))
        self._origins.append(origin)
        self._last = position
        self.pending += 1
        if row + 1 == self._part:
            self._compare(self._part)

    @property
    def bounds(self) -> Bounds:
        """What a frame adds at most to sums that get noise; nothing where none do."""
        return {} if self._bounded is None else self._bounded.bounds

    @property
    def takes_rows(self) -> bool:
        """Whether frames are rows of numbers rather than pictures."""
        return self._runner.takes_rows

    def doubt(self, back: int = 0) -> tuple[float, float]:
        """Least top-1 margin and greatest entropy (over its maximum) of all classifiers on a frame or crop, 0..1 each.

        Without a classifier they are 1 and 0.

        Args:
            back: How many came after it, of the same frame.
        """
        position = self._last - back
        outputs = [n.outputs[0] for n in self._runner.networks if n.kind == "classification"]
        rows = (self._outputs[output][0][position : position + 1] for output in outputs)
        found = [uncertainty.margin_and_entropy(row) for row in rows]
        return (
            min((float(margin[0]) for margin, _ in found), default=1.0),
            max((float(entropy[0]) for _, entropy in found), default=0.0),
        )

    def discard(self) -> None:
        """Forget the frames gathered so far."""
        self.pending = 0
        self._origins.clear()
        self._crossed.clear()
        self._similarity = self._no_similarity()
        for tap in self._taps:
            tap.forget()
        self._pictures.clear()
        self._rows.clear()
        self._inner.discard()
        self._cross.discard()
        if self._bounded is not None:
            self._bounded.discard()
        for limits in self._inputs.values():
            limits[:] = [math.inf, -math.inf]

    def flush(self) -> Minibatch | None:
        """The minibatch of what was gathered so far; None if that are fewer than 4, which are forgotten."""
        frames = self.pending
        if frames < MIN_BATCH:
            self.discard()
            return None
        compared = frames
        if (rest := frames % self._part) >= MIN_BATCH:
            self._compare(rest)
        elif rest:
            # Too few to compare; their values count, as their moments do.
            compared -= rest
            for tap in self._taps:
                tap.count_values(rest)
        origins = [self._origins[:frames], self._origins[:compared], self._origins[::DETAIL_EVERY]]
        whole, alike, detailed = (len(set(of)) for of in origins)
        overall, local = Terms(whole), Terms(whole)
        for tap in self._taps:
            tap.summarise(frames, overall)
        for name, (rows, _) in self._outputs.items():
            limit(overall, name, rows[:frames].min(), rows[:frames].max())
        for name, limits in self._inputs.items():
            limit(overall, name, *limits)
        self._describe(frames, local)
        self._inner.summarise(overall)
        self._cross.summarise(overall)
        if self._bounded is not None:
            self._bounded.summarise(overall)
        # The features for drift are means over these frames, too.
        for terms in (overall, local):
            terms.counts[entries.DETAILED] = np.array(detailed, np.int64)
        if self._runner.view.crops:
            for terms in (overall, local):
                terms.counts[entries.CROPS] = np.array(frames, np.int64)
            overall.counts[entries.DETAILED_CROPS] = np.array(-(-frames // DETAIL_EVERY), np.int64)
            if self._crossed:
                overall.counts[entries.CROSSED] = np.array(len(self._crossed), np.int64)
        similarity = self._similarity
        similarity.frames = alike
        self.number += 1
        self.discard()
        return Minibatch(overall, local, similarity, is_rest=frames < self.minibatch)

    def _no_similarity(self) -> SimilaritySums:
        return SimilaritySums([t.name for t in self.subject.taps])

    def _compare(self, frames: int) -> None:
        """Add what the taps keep of one part of the minibatch."""
        # New memory for each minibatch would cost as much as the products.
        shape = (frames, frames)
        grams = self._grams[: len(self._taps) * frames**2].reshape(-1, *shape)
        samples = self._samples[: 2 * len(self._sampled) * frames**2].reshape(-1, 2, *shape)
        width = min(FEATURE_BLOCK, max(t.width for t in self._taps))
        scratch = self._scratch[: frames * width].reshape(frames, width)
        for i, tap in enumerate(self._taps):
            tap.count_values(frames)
            if i in self._sampled:
                pair = samples[self._sampled.index(i)]
                tap.grams(frames, pair, scratch)
                np.add(pair[0], pair[1], out=grams[i])
                grams[i] /= 2
            else:
                tap.grams(frames, grams[i : i + 1], scratch)
            if not np.isfinite(grams[i, 0] + grams[i, -1]).all():
                raise InputError(f"tap {tap.tap.name} holds NaN or infinity", "check the network and its input")
        self._similarity.add_grams(grams, self._sampled, samples)

    def _describe(self, frames: int, local: Terms) -> None:
        """Histograms and drift features of the minibatch."""
        if self._runner.takes_rows:
            self._describe_rows(local)
        else:
            self._describe_pictures(local)
        for network in self._runner.networks:
            features = [self._lasts[network.name].mean(frames) @ self._drift[network.name]]
            if network.kind == "classification":
                margin, entropy = uncertainty.margin_and_entropy(self._outputs[network.outputs[0]][0][:frames])
                local.counts[entries.margins(network.name)] = uncertainty.histogram(margin)
                local.counts[entries.entropies(network.name)] = uncertainty.histogram(entropy)
                features.append(np.array([margin.mean(), entropy.mean()]))
            _drift(local, network.name, np.concatenate(features))

    def _describe_pictures(self, local: Terms) -> None:
        signatures, centres = zip(*self._pictures, strict=True)
        light = np.concatenate([s.mean(axis=(1, 2), dtype=np.float64) for s in _stacks(signatures)])
        sharp = np.concatenate([frame_quality.sharpness(c) for c in _stacks(centres)])
        local.counts[entries.BRIGHTNESS] = frame_quality.brightness_counts(light)
        local.counts[entries.SHARPNESS] = frame_quality.sharpness_counts(sharp)
        _drift(local, entries.IMAGE, np.array([light.mean() / 255, np.log2(1 + sharp).mean()]))

    def _describe_rows(self, local: Terms) -> None:
        level, rough = np.array(self._rows).T
        local.counts[entries.LEVEL] = row_quality.doubling_counts(level)
        local.counts[entries.ROUGHNESS] = row_quality.doubling_counts(rough)
        features = [row_quality.doublings(values).mean() for values in (level, rough)]
        _drift(local, entries.ROW, np.array(features))


def _stacks(arrays: Sequence[Array]) -> list[Array]:
    """The arrays in stacks of a few, which stay in the cache; one by one where a source mixes shapes."""
    step = max(1, STACKED_BYTES // arrays[0].nbytes) if len({a.shape for a in arrays}) == 1 else 1
    return [np.stack(arrays[i : i + step]) for i in range(0, len(arrays), step)]


def _drift(terms: Terms, name: str, features: Float64Array) -> None:
    """First and second moments of a minibatch's mean features."""
    terms.sums[entries.drift_means(name)] = features
    terms.sums[entries.drift_products(name)] = np.outer(features, features)
