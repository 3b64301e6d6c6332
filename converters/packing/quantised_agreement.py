"""How often a quantised graph answers as the ONNX model does; memory holds outputs, never activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import Agreement, agreement, kept_answers
from multigraft.answers.family import Decoded
from multigraft.bundle.manifest import Task
from multigraft.converters.conversion.boundary_tensors import FloatModel, OnnxRunner, to_tflite_layout
from multigraft.converters.conversion.interpreters import Arrays, Runner, tapped
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.quantising.layer_error import real, stored
from multigraft.tflite.graph import Graph


class QuantisedAgreement:
    """Compares quantised graphs with one ONNX model on the same frames; the model runs once.

    Args:
        multitask: The ONNX model and its tasks.
        floating: The float graph, for names and layouts.
        feeds: Gives the frames as the ONNX model takes them, from the start at each call; may give none.
        tolerances: Task to what still counts as equal; None for the default of its kind.
    """

    def __init__(
        self,
        multitask: MultiTaskModel,
        floating: FloatModel,
        feeds: Callable[[], Iterable[Arrays]],
        tolerances: Mapping[str, float | None],
    ) -> None:
        self._tasks, self._own = multitask.tasks, multitask.own
        self._floating = floating
        self._feeds = feeds
        self._tolerances = tolerances
        self._model = multitask.model
        self._names = multitask.answers
        self._original: dict[str, npt.NDArray[Any]] = {}
        self._said: dict[str, tuple[Decoded, ...] | None] = {}

    def on(self, feeds: Callable[[], Iterable[Arrays]]) -> QuantisedAgreement:
        """The same on other frames."""
        other = copy.copy(self)
        other._feeds, other._original, other._said = feeds, {}, {}
        return other

    def __call__(self, graph: Graph) -> dict[str, Agreement]:
        """Task to agreement; empty without frames."""
        layouts, boundaries, joined = self._floating.layouts, self._floating.boundaries, self._floating.joined
        parts = {n: joined[n].parts if n in joined else (n,) for n in self._names}
        content = tapped(graph, [boundaries[part] for of_output in parts.values() for part in of_output])
        new: dict[str, list[npt.NDArray[Any]]] = {n: [] for n in self._names}
        feeds = (stored(to_tflite_layout(feed, layouts), graph) for feed in self._feeds())
        for answer in over_frames(lambda: Runner(content), feeds):
            for n in self._names:
                values = {p: real(answer[boundaries[p]], graph.tensors[boundaries[p]]) for p in parts[n]}
                value = joined[n](values) if n in joined else values[n]
                new[n].append(value.transpose(np.argsort(layouts[n]))[0])
        if not all(new.values()):
            return {}
        return {task.name: self._of(task, [np.stack(new[o]) for o in task.outputs]) for task in self._tasks}

    def values(self, graph: Graph) -> dict[str, float]:
        """Task to its mean agreement alone."""
        return {task: measured.value for task, measured in self(graph).items()}

    def _of(self, task: Task, new: list[npt.NDArray[Any]]) -> Agreement:
        original = [self._originals()[o] for o in task.outputs]
        answer = self._own.get(task.name) or task.answer
        if task.name not in self._said:
            self._said[task.name] = kept_answers(answer, task.labels, original)
        right = self._said[task.name]
        tolerance = self._tolerances.get(task.name)
        return agreement(task.kind, original, new, tolerance=tolerance, answer=answer, labels=task.labels, right=right)

    def _originals(self) -> dict[str, npt.NDArray[Any]]:
        if not self._original:
            runner = OnnxRunner(self._model, self._names)
            rows = list(over_frames(lambda: runner, self._feeds()))
            self._original = {n: np.stack([row[n][0] for row in rows]) for n in self._names}
        return self._original
