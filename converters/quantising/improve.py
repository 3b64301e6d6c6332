"""Tries what may lower the error of an int8 network, and keeps what does on frames that had no part in it.

Equalisation changes the float graph (not its results), narrower ranges and bias correction change the quantised one.
Each is judged by the error of the network's outputs on held-out frames against the float network's; without a clear
gain the graph stays as it was.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.quantising.channels import Channel, measure_channels
from multigraft.converters.quantising.correct_bias import correctable, corrected
from multigraft.converters.quantising.equalise import equalised, joints
from multigraft.converters.quantising.layer_error import real, sqnr_db, stored
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import Observed, Range, observe
from multigraft.converters.quantising.silu_ranges import without_idle_ends
from multigraft.tflite.graph import Graph

LEAST_GAIN_DB = 1.0
"""A fifth less noise: less than that one set of frames shows and another does not."""

LEAST_FRAMES = 16
"""With fewer there is nothing to hold out."""

TRIAL_FRAMES = 96
"""Half of them are measured on, half are held out."""


@dataclass(frozen=True)
class Improvement:
    """What was done to a network beyond rounding.

    Attributes:
        equalised: Tensors whose channels were rescaled.
        equalising_gain_db: What that gained on held-out frames, mean over the outputs; None if it was not tried.
        narrowed: Tensors whose largest values are cut off for a finer step.
        narrowing_gain_db: Likewise.
        are_biases_corrected: Whether biases were.
        correcting_gain_db: Likewise.
    """

    equalised: tuple[str, ...] = ()
    equalising_gain_db: float | None = None
    narrowed: tuple[str, ...] = ()
    narrowing_gain_db: float | None = None
    are_biases_corrected: bool = False
    correcting_gain_db: float | None = None

    def sentences(self) -> list[str]:
        """For people; empty if nothing was done."""
        said = []
        if self.equalised:
            said.append(
                f"Equalised the channels of {len(self.equalised)} tensors: {self.equalising_gain_db:+.1f} dB at the "
                "outputs on held-out frames."
            )
        if self.narrowed:
            said.append(
                f"Narrowed the ranges of {len(self.narrowed)} tensors: {self.narrowing_gain_db:+.1f} dB at the outputs "
                "on held-out frames."
            )
        if self.are_biases_corrected:
            said.append(f"Corrected biases: {self.correcting_gain_db:+.1f} dB at the outputs on held-out frames.")
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain data: what was done; empty if nothing was."""
        done: dict[str, Any] = {}
        if self.equalised:
            done["equalised"] = {"tensors": list(self.equalised), "gain_db": self.equalising_gain_db}
        if self.narrowed:
            done["narrowed"] = {"tensors": list(self.narrowed), "gain_db": self.narrowing_gain_db}
        if self.are_biases_corrected:
            done["corrected_biases"] = {"gain_db": self.correcting_gain_db}
        return done


class Again(Protocol):
    """Quantises a float graph again."""

    def __call__(
        self, keep_float: Collection[str], eight_bits: Collection[str] = (), float_values: Collection[str] = ()
    ) -> Graph:
        """As :func:`multigraft.converters.quantising.quantise.quantise` takes them."""


@dataclass(frozen=True)
class Quantised:
    """A quantised graph, and the float graph it equals but for rounding.

    Attributes:
        floating: The float graph, equalised where that helps.
        graph: The same quantised.
        again: Quantises it again, with other operators kept in float, others with 8-bit instead of 4-bit weights, and
            others with float values beside 8-bit weights, all by the name of a tensor they write.
        improvement: What was done beyond rounding.
        whole: As ``again``, with the whole ranges of all values but for the idle ends of what a SiLU reads; None where
            no ranges are known. Narrower ranges lower the noise on average, and may cut off what few answers hang on.
    """

    floating: Graph
    graph: Graph
    again: Again
    improvement: Improvement = Improvement()
    whole: Again | None = None

    def with_float_values(self, written: Collection[str]) -> Self:
        """The same, where operators that write ``written`` keep their 8-bit weights and compute float values."""
        if not written:
            return self
        return dataclasses.replace(self, again=functools.partial(self.again, float_values=written))

    @property
    def with_whole_ranges(self) -> Self:
        """The same, quantised again with ``whole``."""
        if self.whole is None:
            return self
        done = dataclasses.replace(self.improvement, narrowed=(), are_biases_corrected=False)
        return dataclasses.replace(self, again=self.whole, improvement=done)


@dataclass(frozen=True)
class Quantising:
    """How a float graph is quantised with ranges from frames.

    Attributes:
        precision: One that needs ranges.
        feeds: Gives at most so many frames, evenly spaced.
        known: Ranges that need no measuring.
        keep_float: As for :func:`multigraft.converters.quantising.quantise.quantise`.
        frames: How many set the ranges.
        least_gain_db: What a change has to gain on average over the outputs; it may cost no output as much.
    """

    precision: Precision
    feeds: Callable[[int], Iterable[Arrays]]
    known: Mapping[str, Range]
    keep_float: Collection[str] = ()
    frames: int = 512
    least_gain_db: float = LEAST_GAIN_DB

    def observed(self, floating: Graph, *, narrows: bool) -> Observed:
        """The ranges of ``floating``; what has no range of least error has its whole one."""
        return observe(floating, self.feeds(self.frames), self.known, narrows=narrows)

    def on(
        self,
        floating: Graph,
        means: Mapping[str, Channel] | None = None,
        *,
        is_narrow: bool = False,
        observed: Observed | None = None,
    ) -> Quantised:
        """``floating`` quantised as it is.

        Args:
            floating: It.
            means: Of its channels; with them biases are corrected.
            is_narrow: Take the ranges of least error.
            observed: Where they are known already.
        """
        seen = observed or self.observed(floating, narrows=is_narrow)
        ranges = seen.narrow if is_narrow else seen.ranges

        def again(
            keep_float: Collection[str], eight_bits: Collection[str] = (), float_values: Collection[str] = ()
        ) -> Graph:
            graph = quantise(floating, self.precision, ranges, keep_float, eight_bits, float_values)
            return graph if means is None else corrected(graph, floating, means)

        def whole(
            keep_float: Collection[str], eight_bits: Collection[str] = (), float_values: Collection[str] = ()
        ) -> Graph:
            own = without_idle_ends(floating, seen.ranges)
            return quantise(floating, self.precision, own, keep_float, eight_bits, float_values)

        return Quantised(floating, again(self.keep_float), again, whole=whole)


def quantise_well(floating: Graph, how: Quantising, fixed: Collection[str]) -> Quantised:
    """Quantise, with equalisation, narrower ranges and bias correction where held-out frames show that they help.

    Args:
        floating: Float32.
        how: Precision, frames, ranges.
        fixed: Tensors that have to stay what they are, such as cuts.
    """
    chosen = list(how.feeds(TRIAL_FRAMES))
    seen, held_out = chosen[::2], chosen[1::2]
    if len(chosen) < LEAST_FRAMES:
        return how.on(floating)
    truth = list(over_frames(lambda: Taps(floating, floating.outputs), held_out))
    trial = dataclasses.replace(how, feeds=lambda _: seen)
    best = _Trial.of(floating, trial, truth, held_out)
    candidate, touched = _equalised(floating, {*fixed, *how.known}, how.keep_float, seen)
    equalising: float | None = None
    if touched:
        other = _Trial.of(candidate, trial, truth, held_out)
        equalising = other.gain_over(best)
        best, touched = (other, touched) if equalising >= how.least_gain_db else (best, ())
    narrow = best.narrowed(trial, truth, held_out)
    narrowing = narrow.gain_over(best)
    is_narrow = narrowing >= how.least_gain_db
    best = narrow if is_narrow else best
    correcting = best.correcting_gain
    is_corrected = correcting >= how.least_gain_db
    observed = how.observed(best.floating, narrows=is_narrow)
    result = how.on(best.floating, best.means if is_corrected else None, is_narrow=is_narrow, observed=observed)
    narrowed = observed.narrowed if is_narrow else ()
    done = Improvement(touched, equalising, narrowed, narrowing, is_corrected, correcting)
    return dataclasses.replace(result, improvement=done)


@dataclass(frozen=True)
class _Trial:
    """A float graph, ranges, means of its channels, and the SQNR of its outputs once rounded, and once corrected."""

    floating: Graph
    observed: Observed
    means: Mapping[str, Channel]
    rounded: Mapping[str, float]
    corrected: Mapping[str, float]
    least_gain_db: float

    @classmethod
    def of(cls, floating: Graph, how: Quantising, truth: Sequence[Arrays], held_out: Sequence[Arrays]) -> Self:
        observed = how.observed(floating, narrows=True)
        means = measure_channels(floating, correctable(floating), how.feeds(how.frames))
        untried = cls(floating, observed, means, {}, {}, how.least_gain_db)
        return untried._with(how.on(floating, observed=observed).graph, truth, held_out)

    def narrowed(self, how: Quantising, truth: Sequence[Arrays], held_out: Sequence[Arrays]) -> Self:
        """The same with the ranges of least error."""
        graph = how.on(self.floating, is_narrow=True, observed=self.observed).graph
        return self._with(graph, truth, held_out)

    def _with(self, graph: Graph, truth: Sequence[Arrays], held_out: Sequence[Arrays]) -> Self:
        correction = corrected(graph, self.floating, self.means)
        before, after = (output_sqnr_db(truth, g, held_out) for g in (graph, correction))
        return dataclasses.replace(self, rounded=before, corrected=after)

    @property
    def correcting_gain(self) -> float:
        return self._gain(self.rounded, self.corrected)

    def gain_over(self, other: Self) -> float:
        return self._gain(other._best, self._best)

    @property
    def _best(self) -> Mapping[str, float]:
        return self.corrected if self.correcting_gain >= self.least_gain_db else self.rounded

    def _gain(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """Mean gain over the outputs in dB; the worst loss where one loses as much as a gain has to be."""
        gains = [after[n] - before[n] for n in before]
        if not gains or min(gains) <= -self.least_gain_db:
            return min(gains, default=0.0)
        return sum(gains) / len(gains)


def output_sqnr_db(truth: Sequence[Arrays], graph: Graph, feeds: Sequence[Arrays]) -> dict[str, float]:
    """SQNR of every output of ``graph`` against its true float values, in dB."""
    values = list(over_frames(lambda: Taps(graph, graph.outputs), (stored(feed, graph) for feed in feeds)))
    return {
        n: sqnr_db([t[n] for t in truth], [real(v[n], graph.tensors[n]) for v in values])
        for n in graph.outputs
        if graph.tensors[n].dtype != "int32"
    }


def _equalised(
    floating: Graph, fixed: Collection[str], keep_float: Collection[str], seen: Sequence[Arrays]
) -> tuple[Graph, tuple[str, ...]]:
    names = [n for j in joints(floating, fixed) if not set(j.tensors) & set(keep_float) for n in j.tensors]
    return equalised(floating, fixed, measure_channels(floating, names, seen)) if names else (floating, ())
