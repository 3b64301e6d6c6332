"""Ranges of the tensors between the taps, for static int8: of one frame per minibatch.

A taps bundle holds each network a second time, with everything it computes as outputs; the weights are shared. Running
it costs about as much as the network itself, so it sees the first frame of every minibatch only.
"""

from __future__ import annotations

import numpy as np

from multigraft.calibration.tapped import Real, TappedModel
from multigraft.errors import InputError
from multigraft.runtime.backends import Subgraph
from multigraft.statistics import INNER, RANGES_SIGNATURE
from multigraft.tally import Terms


class InnerRanges:
    """Least and greatest value of every inner tensor over the frames that were looked at.

    Args:
        model: Of a taps bundle; one that an older version prepared has nothing to look at.
    """

    def __init__(self, model: TappedModel) -> None:
        self._parts: list[tuple[Subgraph, Real, Real]] = []
        for network in model.networks:
            signature = f"{RANGES_SIGNATURE}{network.name}"
            if signature in model.engine.model.signatures:
                subgraph = model.engine.model.subgraph(signature)
                self._parts.append((subgraph, next(iter(subgraph.inputs.values())), model.arrays[network.input]))
        self._frames = 0
        self._limits: dict[str, tuple[float, float]] = {}

    def look(self) -> None:
        """Run the networks on the frame that lies in their inputs.

        Raises:
            InputError: A tensor holds NaN or infinity.
        """
        for subgraph, own, source in self._parts:
            np.copyto(own, source)
            subgraph.invoke()
            for name, array in subgraph.outputs.items():
                low, high = float(array.min()), float(array.max())
                if not (np.isfinite(low) and np.isfinite(high)):
                    raise InputError(f"tensor {name} holds NaN or infinity", "check the network and its input")
                before = self._limits.get(name, (low, high))
                self._limits[name] = min(low, before[0]), max(high, before[1])
        self._frames += 1

    def summarise(self, terms: Terms) -> None:
        """Add what was seen since the last call, and forget it."""
        if self._limits:
            terms.counts[INNER] = np.array(self._frames, np.int64)
        for name, (low, high) in self._limits.items():
            terms.lows[name], terms.highs[name] = np.array(low, np.float64), np.array(high, np.float64)
        self.discard()

    def discard(self) -> None:
        """Forget what was seen."""
        self._frames = 0
        self._limits.clear()
