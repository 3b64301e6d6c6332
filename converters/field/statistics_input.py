"""What a build takes from Statistics collected in the field: similarity and ranges, for the networks they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from multigraft import files
from multigraft.converters.network.network import Network
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.errors import InputError
from multigraft.statistics import statistics_file
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
    def open(cls, path: Path) -> Self:
        """Read and verify it.

        Raises:
            InputError: It is not there or no such file.
        """
        return cls(statistics_file.read(path), path.name, files.sha256_of(path.read_bytes()))

    def provenance(self) -> dict[str, Any]:
        """What the manifest says about it."""
        return {"sha256": self.sha256, "frames": self.statistics.frames, "sites": list(self.statistics.sites)}

    def more_ranges_needed(self, error: MissingRangesError) -> MissingRangesError:
        """The same refusal with how many frames gave ranges, and what to do."""
        statistics = self.statistics
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

    Cut points that were not tapped are not in the table; they count as alike to nothing.

    Raises:
        InputError: As :func:`check_subject`.
    """
    check_subject(statistics, networks)
    sums = statistics.similarity()
    minibatch = sums.frames // max(1, sums.minibatches)
    table = SimilarityTable.from_sums([n.name for n in networks], sums, minibatch)
    points = [p.name for n in networks for p in n.cut_points if p.name in sums.taps]
    order = [sums.taps.index(p) for p in points]
    chosen = np.ix_(order, order)
    return SimilarityTable(
        table.networks, tuple(points), table.unbiased[chosen], table.biased[chosen], table.frames, table.minibatch
    )


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
