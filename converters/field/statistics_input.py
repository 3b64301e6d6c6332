"""What a build takes from Statistics collected in the field: similarity and ranges, for the networks they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft import files
from multigraft.converters import urls
from multigraft.converters.network.network import Network
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.errors import InputError
from multigraft.statistics import statistics_file
from multigraft.statistics.noised_similarity import TOO_NOISY, noised_similarity
from multigraft.statistics.statistics import Statistics

CLIP_PERCENT = 99.99
"""Part of the values that the given ranges hold: rarer ones would cost int8 steps for all others."""

RANGE_MARGIN = 0.02
"""Added on each side of a percentile range: more than the histogram's own error of 1 part in 64."""


@dataclass(frozen=True)
class StatisticsInput:
    """A statistics file and what identifies it.

    Attributes:
        statistics: What it holds.
        name: The file's name.
        sha256: The file's digest.
    """

    statistics: Statistics
    name: str
    sha256: str

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Read and verify it.

        Args:
            path: The file, or its address (``s3://BUCKET/NAME``).

        Raises:
            InputError: It is not there or no such file.
            MissingDependencyError: The package for its protocol is not installed.
        """
        data = urls.read(str(path), statistics_file.LARGEST_FILE)
        statistics = statistics_file.from_bytes(data, urls.masked(str(path)))
        statistics.is_released = True
        return cls(statistics, str(path).rpartition("/")[2], files.sha256_of(data))

    def provenance(self) -> dict[str, Any]:
        """What the manifest says about it."""
        facts = {"sha256": self.sha256, "frames": self.statistics.frames, "sites": list(self.statistics.sites)}
        noise = self.statistics.noise
        if noise is None:
            return facts
        return facts | {"noise": {"epsilon": noise.epsilon, "delta": noise.delta, "frames": noise.frames}}

    def advice(self) -> list[str]:
        """What is to be said of its noise; nothing where there is none."""
        if (similar := noised_similarity(self.statistics)) is None or self.statistics.noise is None:
            return []
        across = _across(self.statistics)
        said = [f"{self.name}: {self.statistics.noise.sentence(self.statistics.frames)}"]
        known, widths = similar.is_known[across], similar.half_width[across]
        if known.any():
            said[0] += f"; CKA is known to ±{np.median(widths[known]):.2f} (median)"
        if lost := int((~known).sum()):
            said.append(
                f"{lost} of {len(known)} CKAs are too noisy to choose by (beyond ±{TOO_NOISY:g}) and count as 0: "
                "collect more frames in fewer releases, or allow a larger epsilon"
            )
        return said

    @property
    def has_ranges(self) -> bool:
        """Whether it holds ranges; frames with noise have none."""
        return bool(self.statistics.overall.lows)

    def more_ranges_needed(self, error: MissingRangesError) -> MissingRangesError:
        """The same refusal with how many frames gave ranges, and what to do."""
        statistics = self.statistics
        if statistics.noise is not None and not self.has_ranges:
            return MissingRangesError(
                f"{self.name}: {error.problem} (a file with noise holds no ranges)",
                "give frames, or choose --precision dynamic",
            )
        counts = f"{statistics.inner_frames} of {statistics.frames} frames gave ranges of all"
        return MissingRangesError(
            f"{self.name}: {error.problem} ({counts})",
            f"collect until {statistics.minimum_frames} did, give frames, or choose --precision dynamic",
        )


def check_subject(statistics: Statistics, networks: Sequence[Network]) -> None:
    """Refuse statistics of other networks.

    Raises:
        InputError: A network's source has another SHA-256 than the one that was tapped, or was not tapped at all.
    """
    tapped = {n.name: n for n in statistics.subject.networks}
    for network in networks:
        source = tapped.get(network.name)
        if source is None:
            have = ", ".join(tapped)
            raise InputError(
                f"the statistics hold no network {network.name!r} (they hold {have})", "collect them again"
            )
        if source.source_sha256 and network.source_sha256 and source.source_sha256 != network.source_sha256:
            raise InputError(
                f"network {network.name!r} is not the one that the statistics are of: its SHA-256 differs",
                "collect again with taps of the networks you build",
            )


def similarity_from_statistics(statistics: Statistics, networks: Sequence[Network]) -> SimilarityTable:
    """CKA between the tapped cut points of all networks, as :func:`measure_similarity` gives it.

    Cut points that were not tapped are not in the table; they count as alike to nothing, and so do those of which noise
    leaves too little to choose by.

    Raises:
        InputError: As :func:`check_subject`; or noise leaves nothing to choose by.
    """
    check_subject(statistics, networks)
    sums = statistics.similarity()
    minibatch = sums.frames // max(1, sums.minibatches)
    names = [n.name for n in networks]
    if (similar := noised_similarity(statistics)) is None:
        table = SimilarityTable.from_sums(names, sums, minibatch)
    else:
        is_known = similar.is_known[_across(statistics)]
        if is_known.size and not is_known.any():
            raise InputError(
                f"the statistics are too noisy to choose by: of {is_known.size} CKAs none is known to ±{TOO_NOISY:g}",
                "collect more frames in fewer releases, allow a larger epsilon, or build from frames alone",
            )
        cka = np.where(similar.is_known, similar.cka, 0.0)
        table = SimilarityTable(tuple(names), sums.taps, cka, np.maximum(cka, 0), statistics.frames, minibatch)
    points = [p.name for n in networks for p in n.cut_points if p.name in sums.taps]
    order = [sums.taps.index(p) for p in points]
    chosen = np.ix_(order, order)
    return SimilarityTable(
        table.networks, tuple(points), table.unbiased[chosen], table.biased[chosen], table.frames, table.minibatch
    )


def _across(statistics: Statistics) -> npt.NDArray[np.bool_]:
    """Taps x taps: pairs of two networks, each once."""
    network = np.array([tap.network for tap in statistics.subject.taps])
    across: npt.NDArray[np.bool_] = np.triu(network[:, None] != network[None])
    return across


def ranges_from_statistics(
    statistics: Statistics, networks: Sequence[Network], percent: float = CLIP_PERCENT
) -> dict[str, Range]:
    """ONNX tensor to the range that int8 should cover: of inputs, taps and outputs, and, where enough frames were
    collected, of what lies between the taps.

    Args:
        statistics: Those collected of these networks.
        networks: As imported.
        percent: Taps' ranges hold this part of the values seen; other tensors, of which no histogram is kept, are
            covered whole.

    Raises:
        InputError: As :func:`check_subject`.
    """
    check_subject(statistics, networks)
    names = {n.name for n in networks}
    full, inner = statistics.ranges(), statistics.ranges(percent)
    widened = {}
    for name in sorted(n for n in full if n.partition("/")[0] in names):
        (low, high), (least, greatest) = full[name], inner[name]
        margin = RANGE_MARGIN * (greatest - least)
        widened[name] = max(low, least - margin), min(high, greatest + margin)
    return widened
