"""A taps bundle as the collector runs it: all original networks on one frame, their representations left in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.tap_outputs import TAP_PAIRS
from multigraft.calibration.views import View, views_of
from multigraft.errors import BundleError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.engine import Engine
from multigraft.statistics.subject import Subject, Tap, TappedNetwork
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preparation import Frame, Preparation, preparer_for, shared_row_shape

_AGAIN = "make one with multigraft calibrate prepare"


class TapsRunner:
    """Runs every network of one view of a taps bundle. Not for use from several threads at once.

    A taps bundle holds one float32 segment per network; what the segment writes beside the task's outputs are taps.

    Args:
        bundle: From ``multigraft calibrate prepare``.
        threads: Threads for the kernels.
        backend: Which interpreter.
        view: Whose networks; None for those that look at whole frames.
        engine: The bundle's, where it is loaded already.

    Attributes:
        engine: Loaded and self-tested.
        arrays: Tensor name to the interpreter's own array, batch axis first; :meth:`run` overwrites it.
        networks: The networks, in the order of the bundle.
        view: What they look at.
        takes_rows: Frames are rows of numbers rather than pictures.
        taps: All taps, network by network from input to output, none sampled.

    Raises:
        BundleError: It is no taps bundle.
        InputError: Its networks take frames of several kinds.
    """

    def __init__(
        self, bundle: Bundle, threads: int = 1, backend: BackendName = "auto", view: View | None = None,
        engine: Engine | None = None,
    ) -> None:  # fmt: skip
        self.engine = engine or Engine(bundle, threads, backend)
        self.view = view or views_of(bundle.manifest)[0]
        self.arrays: dict[str, Float32Array] = {}
        self.networks: tuple[TappedNetwork, ...] = ()
        self.taps: tuple[Tap, ...] = ()
        self._invokes: list[Callable[[], Any]] = []
        self._fills: list[tuple[Callable[[Frame, Float32Array], None], Float32Array]] = []
        self._shared_inputs: list[tuple[Float32Array, Float32Array]] = []
        manifest = bundle.manifest
        self.takes_rows = shared_row_shape([source.preprocessing for source in manifest.inputs]) is not None
        filled: dict[Preparation, Float32Array] = {}
        sources = manifest.provenance.get("sources", {})
        for task in (task for task in manifest.tasks if task.name in self.view.tasks):
            segments = [s for s in manifest.segments if s.name in task.segments]
            if len(segments) != 1 or len(segments[0].inputs) != 1:
                raise BundleError(
                    f"{manifest.name} is no taps bundle: task {task.name} is no network of its own", _AGAIN
                )
            segment = segments[0]
            subgraph = self.engine.model.subgraph(segment.signature)
            arrays = {name: subgraph.inputs[arg] for arg, name in segment.inputs.items()}
            arrays |= {name: subgraph.outputs[arg] for arg, name in segment.outputs.items()}
            if other := next((n for n, a in arrays.items() if a.dtype != np.float32), None):
                raise BundleError(f"{manifest.name} is no taps bundle: its tensor {other} is not float32", _AGAIN)
            taps = [n for n in segment.outputs.values() if n not in task.outputs]
            # The manifest sorts the outputs of a segment by name; the list says their order in the network.
            order = {name: i for i, name in enumerate(manifest.provenance.get("taps", {}).get(task.name, ()))}
            taps.sort(key=lambda n: order.get(n, len(order)))
            if not taps:
                raise BundleError(f"{manifest.name} is no taps bundle: it has no taps for task {task.name}", _AGAIN)
            source = next(iter(segment.inputs.values()))
            self._feed(source, arrays[source], filled)
            self.arrays |= arrays
            self._invokes.append(subgraph.invoke)
            digest = str(sources.get(task.name, {}).get("sha256", ""))
            self.networks += (TappedNetwork(task.name, task.kind, source, task.outputs, digest),)
            self.taps += tuple(Tap(n, task.name, arrays[n].shape[1:]) for n in taps)

    def _feed(self, name: str, array: Float32Array, filled: dict[Preparation, Float32Array]) -> None:
        manifest = self.engine.manifest
        spec = next(i.preprocessing for i in manifest.inputs if i.tensor == name)
        if spec in filled:
            self._shared_inputs.append((array, filled[spec]))
        else:
            filled[spec] = array
            self._fills.append((preparer_for(spec, manifest.tensor(name)).fill, array))

    def subject(self, sampled: dict[str, int], seed: int) -> Subject:
        """What statistics of this model are about.

        Args:
            sampled: Tap to features per sample; others are used whole.
            seed: Seed of the features that drift is tested on.
        """
        taps = tuple(dataclasses.replace(t, sampled=sampled.get(t.name, 0)) for t in self.taps)
        names = {t.name for t in taps}
        pairs = tuple(tuple(map(str, pair)) for pair in self.engine.manifest.provenance.get(TAP_PAIRS, ()))
        pairs = tuple(pair for pair in pairs if all(name in names for name in pair))
        digest = self.engine.manifest.files["model.tflite"].sha256
        return Subject(digest, self.networks, taps, seed, pairs, self.view.crops)

    def run(self, frame: Frame) -> None:
        """Run all networks on one frame; the results lie in :attr:`arrays`.

        Raises:
            InputError: The frame is not of the kind, dtype or shape that a network takes.
        """
        for fill, array in self._fills:
            fill(frame, array)
        for target, source in self._shared_inputs:
            np.copyto(target, source)
        for invoke in self._invokes:
            invoke()
