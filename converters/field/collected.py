"""All that a build takes from statistics: a file for networks that look at whole frames, others for those of crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from multigraft.answers.crops import way_to_crops
from multigraft.converters.field.statistics_input import (
    StatisticsInput,
    ranges_from_statistics,
    similarity_from_statistics,
)
from multigraft.converters.network.network import Network
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.similarity.representations import SimilarityTable, joined
from multigraft.errors import InputError
from multigraft.statistics.statistics import Statistics


@dataclass(frozen=True)
class Collected:
    """Statistics files, each of networks of its own.

    Attributes:
        files: One or more.
    """

    files: tuple[StatisticsInput, ...]

    @classmethod
    def open(cls, paths: Sequence[Path | str]) -> Self:
        """Read and verify them.

        Raises:
            InputError: One is not there or no such file, or two are of one network.
        """
        files = tuple(StatisticsInput.open(path) for path in paths)
        of: dict[str, StatisticsInput] = {}
        for file in files:
            for name in _names(file):
                if (other := of.setdefault(name, file)) is not file:
                    raise InputError(
                        f"{other.name} and {file.name} both hold network {name!r}",
                        "name one of them, or add them up with multigraft calibrate combine",
                    )
        return cls(files)

    def by_file(self, networks: Sequence[Network]) -> list[tuple[StatisticsInput, list[Network]]]:
        """Each file that is needed, with its networks.

        Args:
            networks: All networks, as imported.

        Raises:
            InputError: No file holds a network, or what it holds is of other crops than the network looks at.
        """
        by_name = {network.name: network for network in networks}
        parts: dict[int, list[Network]] = {}
        for network in networks:
            place = next((i for i, file in enumerate(self.files) if network.name in _names(file)), None)
            if place is None:
                have = ", ".join(name for file in self.files for name in _names(file))
                raise InputError(
                    f"the statistics hold no network {network.name!r} (they hold {have})",
                    "collect them again" if network.on is None else "name the file of its crops, too",
                )
            way = way_to_crops(network.name, lambda name: by_name[name].on)
            if self.files[place].statistics.subject.crops != way:
                raise InputError(
                    f"what {self.files[place].name} holds of network {network.name!r} is not of "
                    + ("the crops that [task.on] describes" if way else "whole frames"),
                    "prepare and collect again with the settings that you build",
                )
            parts.setdefault(place, []).append(network)
        return [(self.files[place], members) for place, members in sorted(parts.items())]

    def similarity(self, networks: Sequence[Network]) -> SimilarityTable:
        """CKA between the tapped cut points; networks of different files are alike to nothing in each other.

        Raises:
            InputError: As :meth:`by_file` and :func:`similarity_from_statistics`.
        """
        parts = self.by_file(networks)
        return joined([similarity_from_statistics(file.statistics, members) for file, members in parts], networks)

    def ranges(self, networks: Sequence[Network]) -> dict[str, Range]:
        """ONNX tensor to the range that int8 should cover, as :func:`ranges_from_statistics`.

        Raises:
            InputError: As :meth:`by_file` and :func:`ranges_from_statistics`.
        """
        found: dict[str, Range] = {}
        for file, members in self.by_file(networks):
            found |= ranges_from_statistics(file.statistics, members)
        return found

    @property
    def by_network(self) -> Mapping[str, Statistics]:
        """Network to the statistics that hold it."""
        return {name: file.statistics for file in self.files for name in _names(file)}

    def provenance(self) -> dict[str, Any]:
        """What the manifest says about them."""
        if len(self.files) == 1:
            return self.files[0].provenance()
        return {"files": [{"networks": _names(file), **file.provenance()} for file in self.files]}

    def advice(self) -> list[str]:
        """What is to be said of their noise; nothing where there is none."""
        return [sentence for file in self.files for sentence in file.advice()]

    @property
    def has_ranges(self) -> bool:
        """Whether all hold ranges; frames with noise have none."""
        return all(file.has_ranges for file in self.files)

    def more_ranges_needed(self, error: MissingRangesError) -> MissingRangesError:
        """The same refusal with how many frames gave ranges, of the file with the fewest, and what to do."""
        fewest = min(self.files, key=lambda file: (file.has_ranges, file.statistics.inner_frames))
        return fewest.more_ranges_needed(error)


def _names(file: StatisticsInput) -> list[str]:
    return [network.name for network in file.statistics.subject.networks]
