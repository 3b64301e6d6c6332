"""What was seen of networks and what was made of them, kept while a build runs, so that it goes on where it ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.graft.saved_evaluations import SavedEvaluations
from multigraft.converters.job.effort import MEDIUM, Effort
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedLayer
from multigraft.converters.thinning.narrow import like
from multigraft.converters.thinning.survey import Survey, movable_groups, survey
from multigraft.converters.thinning.thin import Thinned, thinned_to
from multigraft.npz import npz_bytes, read_npz


class SavedThinning:
    """Looks up and stores.

    Args:
        saved: Where steps are kept; None keeps none.
        seed: Picks the rows where not all are used.
        report: Takes a line for each step.
        effort: What a survey may spend.
    """

    def __init__(
        self, saved: SavedEvaluations | None, seed: int = 0, report: Report = silent, effort: Effort = MEDIUM
    ) -> None:
        self._saved, self._seed, self._report, self._effort = saved, seed, report, effort

    def survey(self, network: Network, frames: Frames, outputs: Sequence[int], within: range | None = None) -> Survey:
        """As :func:`multigraft.converters.thinning.survey.survey`."""

        def do() -> Survey:
            return survey(network, frames, self._seed, self._report, outputs, self._effort.probed_macs, within)

        if self._saved is None:
            return do()
        options = self._seed, self._effort.probed_macs, *outputs, *([str(within)] if within else [])
        data = self._saved.step("survey", network, frames, options, lambda: _survey_bytes(do()))
        return _survey_from(network, data, within)

    def thinned(self, found: Survey, widths: Sequence[int], frames: Frames) -> Thinned:
        """As :func:`multigraft.converters.thinning.thin.thinned_to`."""

        def do() -> Thinned:
            return thinned_to(found, widths, frames, self._seed, self._report)

        if self._saved is None:
            return do()
        # Which channels stay is in the order that the survey found.
        orders = [order[:width].tolist() for order, width in zip(found.orders, widths, strict=True)]
        options, network = (self._seed, orders), found.network
        return _thinned_from(network, self._saved.step("thinned", network, frames, options, lambda: _bytes_of(do())))


def _survey_bytes(found: Survey) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, (order, curve) in enumerate(zip(found.orders, found.curves, strict=True)):
        arrays |= {
            f"order{number}": order,
            f"widths{number}": np.array(list(curve)),
            f"losses{number}": np.stack(list(curve.values())),
        }
    return npz_bytes(arrays)


def _survey_from(network: Network, data: bytes, within: range | None) -> Survey:
    groups, arrays = movable_groups(network, within), read_npz(data)
    numbers = range(len(groups))
    pairs = [(arrays[f"widths{i}"].tolist(), arrays[f"losses{i}"]) for i in numbers]
    curves = tuple(dict(zip(widths, losses, strict=True)) for widths, losses in pairs)
    return Survey(network, groups, tuple(arrays[f"order{i}"] for i in numbers), curves)


def _bytes_of(made: Thinned) -> bytes:
    layers = json.dumps([dataclasses.asdict(layer) for layer in made.layers])
    model: bytes = made.network.model.SerializeToString()
    return layers.encode() + b"\n" + model


def _thinned_from(network: Network, data: bytes) -> Thinned:
    line, _, model = data.partition(b"\n")
    layers = tuple(ThinnedLayer(**layer) for layer in json.loads(line))
    return Thinned(like(network, onnx.load_from_string(model)) if layers else network, layers)
