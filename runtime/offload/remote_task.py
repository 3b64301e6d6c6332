"""One task whose rest a server computes: which tensor goes there, and what comes back means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from multigraft.bundle.manifest import Manifest
from multigraft.errors import BundleError, UsageError
from multigraft.runtime.answers import Answer, make_decoder
from multigraft.runtime.engine import Engine
from multigraft.runtime.offload.codec import Codec
from multigraft.runtime.offload.cuts import check_cut
from multigraft.runtime.offload.packet import Packet
from multigraft.runtime.offload.wire import model_name
from multigraft.runtime.places import Places
from multigraft.runtime.self_test import read_golden
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.preparation import Frame, preparer_for


class RemoteTask:
    """A task from a cut point on.

    Args:
        engine: Runs the bundle here.
        name: The task's.
        cut: The tensor that travels.

    Attributes:
        model: What the server calls the rest.
        outputs: Names to shapes of what the server answers with.

    Raises:
        UsageError: The task has no such cut point.
        BundleError: The bundle keeps no golden values of the tensor, from which its ranges come.
    """

    def __init__(self, engine: Engine, name: str, cut: str) -> None:
        manifest = engine.manifest
        check_cut(manifest, name, cut)
        self.model = model_name(manifest, name, cut)
        self._engine, self._places = engine, Places(manifest)
        task = manifest.task(name)
        self._source = manifest.inputs_of(name)[0]
        self._is_placed = task.answer is not None or name in engine.own
        specs = [manifest.tensor(output) for output in task.outputs]
        self.outputs = {spec.name: spec.shape for spec in specs}
        self._arrays = {spec.name: np.zeros(spec.shape, np.float32) for spec in specs}
        real = [dataclasses.replace(spec, dtype="float32", scale=None, zero_point=0) for spec in specs]
        self._decode = make_decoder(task, real, list(self._arrays.values()), engine.own.get(name))
        self._spec = manifest.tensor(cut)
        self._codec = Codec.from_samples(self._spec, _samples(engine, cut))
        self._stored = self._reader(cut)

    def packet(self, frame: Frame, bits: int) -> Packet:
        """What goes to the server of a frame that the engine has just answered.

        Args:
            frame: It.
            bits: 2 to 8.
        """
        return self._codec.packet(self._stored(frame), bits)

    def answer(self, outputs: dict[str, Float32Array], frame: Frame) -> Answer:
        """What the server's outputs mean.

        Args:
            outputs: As :attr:`outputs` says, float32.
            frame: What they were computed of.
        """
        for name, array in self._arrays.items():
            np.copyto(array, outputs[name])
        answer = self._decode()
        if self._is_placed:
            return self._places.placed(answer, self._source.tensor, frame)  # type: ignore[arg-type]
        return answer

    def _reader(self, cut: str) -> Callable[[Frame], Array]:
        if cut != self._source.tensor:
            return lambda frame: self._engine.last_written(cut)
        preparer = preparer_for(self._source.preprocessing, self._spec)
        filled = np.zeros(self._spec.shape, self._spec.dtype)

        def prepared(frame: Frame) -> Array:
            preparer.fill(frame, filled)
            return filled

        return prepared


def cut_of(manifest: Manifest, task: str, inputs: tuple[str, ...]) -> str:
    """Which tensor of a bundle a server's model reads; :class:`RemoteTask` refuses one that is no cut point.

    Args:
        manifest: Of the bundle.
        task: Its name.
        inputs: Of the model, as its metadata names them.

    Raises:
        UsageError: None of them is a tensor of the bundle, or several are.
    """
    known = {spec.name for spec in manifest.tensors}
    found = [name for name in inputs if name in known]
    if len(found) != 1:
        raise UsageError(
            f"the server's model for task {task} reads no tensor of this bundle",
            "export it anew: multigraft export-tail",
        )
    return found[0]


def _samples(engine: Engine, tensor: str) -> Array:
    inputs, outputs = read_golden(engine.bundle)
    try:
        return (inputs | outputs)[tensor]
    except KeyError:
        raise BundleError(f"the bundle keeps no golden values of {tensor}", "build it again") from None
