"""Noise that coarser layers leave at a network's outputs, by which searches rank them before they ask for answers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.quantising.improve import output_sqnr_db
from multigraft.tflite.graph import Graph

NOISE_FRAMES = 24


class Noise:
    """Noise of a graph's outputs over their signal, on a few frames of those that fit.

    Args:
        floating: The float graph.
        feeds: Frames, as it takes them.
    """

    def __init__(self, floating: Graph, feeds: Sequence[Arrays]) -> None:
        self._feeds = feeds[:: max(1, len(feeds) // NOISE_FRAMES)]
        taps = Taps(floating, floating.outputs)
        self._truth = [taps(feed) for feed in self._feeds]

    def levels(self, graph: Graph) -> list[float]:
        """Signal over noise of every output, dB."""
        return list(output_sqnr_db(self._truth, graph, self._feeds).values())

    def __call__(self, graph: Graph) -> float:
        """Noise over signal, mean over the outputs."""
        return mean_noise(self.levels(graph))


def mean_noise(levels: Sequence[float]) -> float:
    """Noise over signal, mean over outputs of these levels in dB; 0 without outputs."""
    return statistics.fmean(10 ** (-level / 10) for level in levels) if levels else 0.0
