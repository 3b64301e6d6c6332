"""Runs a bundle: one interpreter, the shared segments once per frame, and only the segments that were asked for."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from multigraft.answers.family import Decoded
from multigraft.answers.own_format import OwnFormat
from multigraft.answers.per_box import gathered
from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest, Task
from multigraft.errors import BundleError, ConfigurationError, InputError, MissingDependencyError, UsageError
from multigraft.exits.draws import Draws
from multigraft.runtime.answers import Answer, make_decoder
from multigraft.runtime.backends import BackendName
from multigraft.runtime.binding.bound_tasks import BoundTasks
from multigraft.runtime.binding.segment_subgraph import subgraph_of
from multigraft.runtime.cascades import Stage, StageTime, crops_of, staged
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.exits.journey import Run, Way, travel, way_of
from multigraft.runtime.frames import frames_of_inputs
from multigraft.runtime.places import Places
from multigraft.runtime.result import Result
from multigraft.runtime.self_test import SelfTest, run_self_test
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.runtime.untrusted import try_in_child
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame, Preparer, preparer_for
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec
from multigraft.tflite.checking.check import check_tflite

_ALL = slice(None)
MOST_CHOICES = 64
"""Choices of tasks that are kept ready, beside all of them."""
_now = time.perf_counter_ns


class Engine:
    """Answers the tasks of a bundle on camera frames; calls from several threads wait for each other.

    Where its first model cannot run here, or fails the self-test, the bundle's fallback runs, if there is one.

    Args:
        bundle: A bundle, or the path of one.
        threads: Threads for the kernels.
        backend: Which interpreter.
        self_test: Run the golden inputs on load; see :attr:`self_test`.
        untrusted: Load and run the model once in a child process before, which may crash in place of this one.
        own: Task to a function of yours that makes its answer, in place of what the bundle says of it.
        exits: Take the early exits that the bundle has.
        audit_seed: Of the draw of exiting frames that also run to the end.

    Attributes:
        bundle: The bundle; where its fallback runs, what that one makes of it.
        fallback_reason: Why the fallback runs, a sentence; None where the first model does.
        model: The interpreter.
        own: As given.
        self_test: How the golden inputs came out; None where it was not run.
        uses: Grows whenever segments are run.
        gates: Segment to early exit, with what was counted; empty where there are none, or none are taken.

    Raises:
        BundleError: Manifest and model do not fit each other, or the golden outputs are missed.
        InputError: The interpreter cannot load the model, or crashes on it in a child process.
        MissingDependencyError: The interpreter is not installed.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        threads: int = 1,
        backend: BackendName = "auto",
        self_test: bool = True,
        untrusted: bool = False,
        own: Mapping[str, OwnFormat] | None = None,
        exits: bool = True,
        audit_seed: int = 0,
    ) -> None:
        self._exits, self._draws = exits, Draws(audit_seed)
        first = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        if untrusted:
            _try(first, backend, threads)
        other, self.fallback_reason = None, None
        try:
            self._load(first, threads, backend, self_test, own or {})
        except (BundleError, InputError, MissingDependencyError) as error:
            if (other := first.fallback()) is None:
                raise
            self.fallback_reason = f"the bundle's fallback runs in place of its first model: {error}"
        if other is not None:
            if untrusted:
                _try(other, backend, threads)
            self._load(other, threads, backend, self_test, own or {})

    def _load(
        self, bundle: Bundle, threads: int, backend: BackendName, self_test: bool, own: Mapping[str, OwnFormat]
    ) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.own = {name: dataclasses.replace(own, size=self._size_of(name)) for name, own in own.items()}
        self.model = TfliteModel(self.bundle.model_path or self.bundle.model, backend, threads)
        self._tensors = {spec.name: spec for spec in self.manifest.tensors}
        self._subgraphs = {
            segment.name: subgraph_of(self.model, segment, self._tensors) for segment in self.manifest.segments
        }
        self._sources = {
            tensor: self._subgraphs[segment.name].outputs[argument]
            for segment in self.manifest.segments
            for argument, tensor in segment.outputs.items()
        }
        self._preparers = {source.tensor: self._preparer(source.tensor) for source in self.manifest.inputs}
        self._places = Places(self.manifest)
        self.gates = {
            found.segment: ExitGate.of(task.name, found, *self._tensor_of(found.output))
            for task in self.manifest.tasks
            for found in (task.exits if self._exits and task.name not in self.own else ())
        }
        self._lock = threading.Lock()
        self.uses = 0
        self._bound: dict[tuple[str, ...] | None, BoundTasks] = {}
        every = tuple(task.name for task in self.manifest.tasks)
        self._bound[None] = self._bind(every, self._exits)
        # The self-test runs heads of exits even where no frame needs them.
        self._all = self._bound[None] if self._exits else self._bind(every, True)
        self.self_test: SelfTest | None = (
            run_self_test(self.bundle, self.compute, self.model.backend, self.model.has_delegate())
            if self_test
            else None
        )
        self.model.let_go()

    def run(self, frame: Frame | Mapping[str, Frame], tasks: Iterable[str] | None = None, exits: bool = True) -> Result:
        """Answer tasks on one frame.

        Args:
            frame: A picture: uint8, height x width (grey) or height x width x 3 (RGB), any size; or a row of numbers
                of the shape that the tasks take. Tasks of different sources: task to its frame.
            tasks: Their names; None for all, or for all that ``frame`` names.
            exits: Take early exits, and count the frame in their audits.

        Raises:
            BundleError: The bundle has no such task; the message lists those there are.
            InputError: The frame is not of the kind, dtype or shape that a task takes, or a task has none.
        """
        start = _now()
        by_task = frame if isinstance(frame, Mapping) else None
        if by_task is not None and tasks is None:
            tasks = tuple(by_task)
        try:
            bound = self._bound[tasks]  # type: ignore[index]
        except (KeyError, TypeError):
            bound = self._bound_for(tasks)
        if bound.stages:
            return self._run_stages(bound, frame, by_task, start, exits)
        return self._run(bound, frame, by_task, start, exits)

    def _run(
        self,
        bound: BoundTasks,
        frame: Frame | Mapping[str, Frame],
        by_task: Mapping[str, Frame] | None,
        start: int,
        exits: bool,
    ) -> Result:
        segments, left = bound.segments, None
        with self._lock:
            self.uses += 1
            if by_task is None:
                for fill, array in bound.fills:
                    fill(frame, array)  # type: ignore[arg-type]
            else:
                frames = frames_of_inputs(self.manifest, by_task, [name for name, _ in bound.decoders])
                for tensor, (fill, array) in zip(bound.inputs, bound.fills, strict=True):
                    fill(frames[tensor], array)
            for target, source in bound.input_copies:
                target[_ALL] = source
            stamps = [_now()]
            stamp = stamps.append
            if bound.way is None or not exits:
                for copies, invoke in bound.runs:
                    for target, source in copies:
                        target[_ALL] = source
                    invoke()
                    stamp(_now())
                answers = {name: decode() for name, decode in bound.decoders}
            else:
                segments, answers, left = travel(bound.way, bound.decoders, stamp)
            for name, tensor in bound.placed:
                shown = frame if by_task is None else frames[tensor]
                answers[name] = self._places.placed(answers[name], tensor, shown)  # type: ignore[arg-type]
        return Result(answers, segments, start, stamps, _now(), (), left)

    def _run_stages(
        self,
        bound: BoundTasks,
        frame: Frame | Mapping[str, Frame],
        by_task: Mapping[str, Frame] | None,
        start: int,
        exits: bool,
    ) -> Result:
        """The tasks that look at whole frames, then those that look at boxes, stage by stage."""
        whole = self._run(self._bound_for(bound.roots), frame, by_task, start, exits)
        answers, times = dict(whole.answers), []
        shown = {root: frame if by_task is None else by_task[root] for root in bound.roots}
        for stage in bound.stages:
            begin = _now()
            picture = shown[stage.on.task]
            shown |= dict.fromkeys(stage.tasks, picture)
            found = answers[stage.on.task]
            told, time = self.ask_boxes(stage, picture, found, start, exits)  # type: ignore[arg-type]
            answers |= told
            times.append(dataclasses.replace(time, us=(_now() - begin) / 1000))
        return whole.followed(answers, tuple(times), _now())

    def ask_boxes(
        self, stage: Stage, frame: Frame, found: Answer, start: int, exits: bool = True
    ) -> tuple[dict[str, Answer], StageTime]:
        """Ask a stage's tasks of boxes.

        Args:
            stage: Which tasks, and how the boxes are cut out.
            frame: uint8, height x width or height x width x 3.
            found: The boxes, in its pixels.
            start: When the frame began, of ``time.perf_counter_ns``: deadlines count from it.
            exits: As for :meth:`run`, box by box.

        Raises:
            BundleError: ``found`` holds no boxes.
        """
        numbers, cut = crops_of(stage.on, frame, found)
        bound, limit = self._bound_for(stage.tasks), stage.on.deadline_us
        told = []
        for number in numbers:
            if limit is not None and (_now() - start) / 1000 > limit:
                break
            part, placement = cut(number)
            one = self._run(bound, part, None, _now(), exits).answers
            told.append({n: a.placed(placement) if isinstance(a, Decoded) else a for n, a in one.items()})
        asked = list(numbers[: len(told)])
        answers: dict[str, Answer] = {
            name: gathered(stage.on.task, asked, [one[name] for one in told]) for name in stage.tasks
        }
        return answers, StageTime(stage, len(asked), len(numbers) - len(asked), 0.0)

    def exits_to_json(self) -> dict[str, Any]:
        """Plain data: early exit by segment, with its counts since the engine was made; empty where there are none."""
        return {name: gate.to_json() for name, gate in self.gates.items()}

    def compute(self, inputs: Mapping[str, Array], tasks: Iterable[str] | None = None) -> dict[str, Array]:
        """Run segments on stored tensors, without preprocessing and answering.

        Args:
            inputs: Tensor name to stored values, of the tensor's shape and dtype, for all network inputs needed.
            tasks: Whose segments to run; None for all.

        Returns:
            All tensors that these segments wrote, by name: stored values, copied.

        Raises:
            BundleError: The bundle has no such task.
            InputError: An input is missing or does not fit its tensor.
        """
        bound = self._all if tasks is None else self._bound_for(tasks)
        chosen = [self.manifest.segment(name) for name in bound.segments]
        with self._lock:
            self.uses += 1
            for segment in chosen:
                for argument, tensor in segment.inputs.items():
                    if tensor in self._preparers:
                        self._place(self._subgraphs[segment.name].inputs[argument], tensor, inputs)
            for copies, invoke in bound.runs:
                for target, source in copies:
                    target[_ALL] = source
                invoke()
            return {t: self._sources[t].copy() for segment in chosen for t in segment.outputs.values()}

    def last_written(self, tensor: str) -> Array:
        """Stored values of a boundary tensor, copied, as the segment that writes it left them."""
        with self._lock:
            return self._sources[tensor].copy()

    def _place(self, target: Array, tensor: str, inputs: Mapping[str, Array]) -> None:
        given = inputs.get(tensor)
        if given is None:
            raise InputError(f"input {tensor} is missing", "give every network input")
        if given.shape != target.shape or given.dtype != target.dtype:
            raise InputError(
                f"input {tensor} is {given.dtype} of shape {given.shape}",
                f"give {target.dtype} of shape {target.shape}",
            )
        np.copyto(target, given)

    def _bound_for(self, tasks: Iterable[str] | None) -> BoundTasks:
        names = (tasks,) if isinstance(tasks, str) else tuple(dict.fromkeys(tasks or ()))
        if not names and tasks is not None:
            raise UsageError("no task was asked for", "name at least one, or give None for all")
        key = names or None
        with self._lock:
            bound = self._bound.get(key)
            if bound is None:
                if len(self._bound) > MOST_CHOICES:
                    self._bound = {None: self._bound[None]}
                bound = self._bound[key] = self._bind(names, self._exits)
        return bound

    def _bind(self, names: tuple[str, ...], has_heads: bool) -> BoundTasks:
        tasks = [self.manifest.task(name) for name in dict.fromkeys(names)]
        wanted = {segment for task in tasks for segment in (task.all_segments if has_heads else task.segments)}
        fills: dict[str, tuple[Callable[[Frame, Array], None], Array]] = {}
        input_copies, runs = [], []
        segments = [segment for segment in self.manifest.segments if segment.name in wanted]
        for segment in segments:
            subgraph = self._subgraphs[segment.name]
            copies = []
            for argument, tensor in segment.inputs.items():
                array = subgraph.inputs[argument]
                if tensor not in self._preparers:
                    copies.append((_bytes_of(array), _bytes_of(self._sources[tensor])))
                elif tensor in fills:
                    input_copies.append((_bytes_of(array), _bytes_of(fills[tensor][1])))
                else:
                    fills[tensor] = (self._preparers[tensor].fill, array)
            runs.append((tuple(copies), subgraph.invoke))
        decoders = []
        for task in tasks:
            specs = [self._tensors[name] for name in task.outputs]
            arrays = [self._output(name, task.name, wanted) for name in task.outputs]
            decoders.append((task.name, make_decoder(task, specs, arrays, self.own.get(task.name))))
        return BoundTasks(
            tuple(fills.values()),
            tuple(fills),
            tuple(input_copies),
            tuple(runs),
            tuple(decoders),
            tuple((t.name, self.manifest.inputs_of(t.name)[0].tensor) for t in tasks if t.answer or t.name in self.own),
            tuple(s.name for s in segments),
            *staged(self.manifest, names),
            self._way(tasks, [s.name for s in segments], runs),
        )

    def _way(self, tasks: Sequence[Task], segments: Sequence[str], runs: Sequence[Run]) -> Way | None:
        by_name = {task.name: task for task in tasks}
        gates = {}
        for name, gate in self.gates.items():
            if gate.task in by_name:
                spec, array = self._tensor_of(gate.policy.output)
                gates[name] = gate, gate.answer or make_decoder(by_name[gate.task], [spec], [array])
        if not gates:
            return None
        needs = {task.name: task.segments for task in tasks}
        return way_of(tuple(by_name), segments, runs, needs, gates, self._draws)

    def _tensor_of(self, name: str) -> tuple[TensorSpec, Array]:
        return self._tensors[name], self._sources[name]

    def _size_of(self, task: str) -> tuple[int, int]:
        preparation = self.manifest.inputs_of(task)[0].preprocessing
        if not isinstance(preparation, Preprocessing):
            raise ConfigurationError(f"task {task} takes no pictures, and a function decodes those", "leave it out")
        return preparation.height, preparation.width

    def _output(self, tensor: str, task: str, segments: set[str]) -> Array:
        for segment in self.manifest.segments:
            if segment.name in segments and tensor in segment.outputs.values():
                return self._sources[tensor]
        raise BundleError(
            f"task {task} answers with {tensor}, which none of its segments writes", "build the bundle again"
        )

    def _preparer(self, tensor: str) -> Preparer:
        preprocessing = next(source.preprocessing for source in self.manifest.inputs if source.tensor == tensor)
        try:
            return preparer_for(preprocessing, self._tensors[tensor])
        except (ConfigurationError, InputError) as error:
            raise BundleError(f"the manifest contradicts itself: {error.problem}", "build the bundle again") from error


def _try(bundle: Bundle, backend: BackendName, threads: int) -> None:
    check_tflite(bundle.model, "the model")
    try_in_child(bundle.model, backend, threads)


def _bytes_of(array: Array) -> memoryview:
    """The bytes of a contiguous array, in place.

    After an invoke the caches hold weights and no code of ours: copying these costs half of what ``np.copyto`` does,
    which runs through more of it.
    """
    return array.reshape(-1).view(np.uint8).data
