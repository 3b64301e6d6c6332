"""What a conversion feeds the graph's inputs: frames, random ones, and such as a camera would make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.importing.probe_frames import COUNT as MADE_UP_FRAMES
from multigraft.converters.importing.probe_frames import probe_frames
from multigraft.converters.network.frames import Frame, Frames
from multigraft.errors import UsageError
from multigraft.tensors.preparation import Preparation, prepare_frames, random_frame
from multigraft.tensors.preprocessing import Preprocessing


class Feeds:
    """Values of the ONNX inputs, one frame at a time."""

    def __init__(self, inputs: Mapping[str, Preparation], frames: Mapping[str, Frames]) -> None:
        if unknown := sorted(set(frames) - set(inputs)):
            raise UsageError(f"frames are given for {unknown[0]!r}", f"the inputs are: {', '.join(inputs)}")
        self._inputs = dict(inputs)
        self._frames = {n: frames.get(n, ()) for n in inputs}
        self._count = max(map(len, self._frames.values())) if all(map(len, self._frames.values())) else 0

    def chosen(self, count: int) -> list[int]:
        """Indices of at most ``count`` frames, evenly spaced; shorter inputs start again from their first."""
        return [int(i) for i in np.linspace(0, self._count - 1, min(count, self._count))] if self._count else []

    def spaced(self, count: int) -> Iterator[Arrays]:
        """At most ``count`` frames, evenly spaced."""
        for index in self.chosen(count):
            yield self._feed({n: f[index % len(f)] for n, f in self._frames.items()})

    def random(self, count: int) -> Iterator[Arrays]:
        """Frames of random pixels or numbers."""
        rng = np.random.default_rng(0)
        for _ in range(count):
            yield self._feed({n: random_frame(p, rng) for n, p in self._inputs.items()})

    def made_up(self) -> list[Arrays]:
        """:data:`MADE_UP_FRAMES` frames as a camera makes them, in place of those that are not given."""
        rng = np.random.default_rng(0)
        made = {
            n: probe_frames(p.height, p.width, 3)
            if isinstance(p, Preprocessing)
            else [random_frame(p, rng) for _ in range(MADE_UP_FRAMES)]
            for n, p in self._inputs.items()
        }
        return [self._feed({n: f[i] for n, f in made.items()}) for i in range(MADE_UP_FRAMES)]

    def _feed(self, frames: Mapping[str, Frame]) -> Arrays:
        return {n: prepare_frames([frames[n]], p) for n, p in self._inputs.items()}
