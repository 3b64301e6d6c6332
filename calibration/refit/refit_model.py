"""A refit bundle as the device runs it: donor, original and grafted network on one frame, weights replaced in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.refit.plan_check import check_plan
from multigraft.calibration.views import Cutter, views_of
from multigraft.refit.linear_layer import LinearLayer, layer_of
from multigraft.refit.refit_plan import SEGMENT, PlannedGraft, RefitPlan, Stage
from multigraft.runtime.backends import BackendName
from multigraft.runtime.engine import Engine
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.preparation import Frame, preparer_for


class RefitModel:
    """The model file with weights that change. Not for use from several threads at once.

    Args:
        bundle: From ``multigraft calibrate plan``; its self-test is run once.
        threads: Threads for the kernels.
        backend: Which interpreter.

    Attributes:
        plan: What to solve.
        interpreter: The interpreter that runs it, in words.
        cutters: Target to what cuts out what it looks at; those of whole frames have none.

    Raises:
        BundleError: It is no refit bundle, or its plan is damaged.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, backend: BackendName = "auto") -> None:
        self.plan, self._arrays = RefitPlan.of(bundle)
        check_plan(self.plan, self._arrays, bundle)
        engine = Engine(bundle, threads, backend)
        self.interpreter = str(engine.model.backend)
        looks = {name: view for view in views_of(bundle.manifest) if view.crops for name in view.tasks}
        self.cutters = {
            graft.target: Cutter(engine, view)
            for graft in self.plan.grafts
            if (view := looks.get(graft.target)) is not None
        }
        self._bundle, self._threads, self._backend = bundle, threads, backend
        self._content = bytearray(bundle.model)

    def layer(self, stage: Stage) -> LinearLayer:
        """The layer with its original weights."""
        return layer_of(stage.geometry, self._arrays[f"{stage.layer}/1"], self._arrays.get(f"{stage.layer}/2"))

    def weights(self, stage: Stage) -> dict[str, Float32Array]:
        """What :meth:`replace` takes for a layer, with the original weights."""
        layer = self.layer(stage)
        values = layer.initializers(layer.weight, layer.intercept)
        return {f"{stage.layer}/{position}": np.asarray(value, np.float32) for position, value in values.items()}

    def replace(self, weights: Mapping[str, Float32Array]) -> None:
        """Put weights into the model; a :class:`GraftNetworks` made before does not change."""
        numbers = np.frombuffer(self._content, "<f4", len(self._content) // 4)
        for key, value in weights.items():
            numbers[self._arrays[f"{key}/places"]] = value

    def open(self, graft: PlannedGraft) -> GraftNetworks:
        """An interpreter over the model as it is now."""
        return GraftNetworks(self._bundle, bytes(self._content), graft, self._threads, self._backend)


class GraftNetworks:
    """Donor, original and grafted network of one graft, with the weights that the model held when it was opened."""

    def __init__(self, bundle: Bundle, content: bytes, graft: PlannedGraft, threads: int, backend: BackendName) -> None:
        manifest = bundle.manifest
        segment = manifest.segment(f"{SEGMENT}{graft.target}")
        subgraph = TfliteModel(content, backend, threads).subgraph(segment.signature)
        self._invoke: Callable[[], Any] = subgraph.invoke
        self._fills = []
        for source in manifest.inputs:
            argument = next((a for a, t in segment.inputs.items() if t == source.tensor), None)
            if argument is not None:
                fill = preparer_for(source.preprocessing, manifest.tensor(source.tensor)).fill
                self._fills.append((fill, subgraph.inputs[argument]))
        outputs = {tensor: subgraph.outputs[argument] for argument, tensor in segment.outputs.items()}
        self.tensors: dict[str, Array] = {
            # A signal has a height of 1 in the model.
            name: (outputs[name][:, 0] if outputs[name].ndim > len(axes) else outputs[name]).transpose(axes)
            for name, axes in graft.axes.items()
        }

    def run(self, frame: Frame) -> Mapping[str, Array]:
        """Tensor to its value, (1, *shape), channels first; the next call overwrites it.

        Raises:
            InputError: The frame is not of the kind, dtype or shape that a network takes.
        """
        for fill, array in self._fills:
            fill(frame, array)
        self._invoke()
        return self.tensors
