"""The manifest of a bundle: what the device has to know, as plain data.

Everything is a frozen dataclass that reads from and writes to JSON. Fields a reader does not know are ignored, so a
newer minor writer stays readable; :data:`SCHEMA` changes only when an old reader would misread.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.crops import On
from multigraft.answers.kind import Kind
from multigraft.bundle.offload_choice import OffloadChoice
from multigraft.errors import BundleError
from multigraft.exits.policy import Exit
from multigraft.json_decoding import decode
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.joining import Joined
from multigraft.tensors.preparation import Preparation
from multigraft.tensors.specs import TensorSpec

SCHEMA = 1

ARRAY_SCHEMA = 2
"""That of manifests with an input that is no picture; readers of schema 1 know none."""

PARTED_SCHEMA = 3
"""That of manifests with an output that is joined of parts; readers of schema 2 would take the parts for outputs."""

PAD_SCHEMA = 4
"""That of manifests with a pixel to pad with; readers of schema 3 would pad with the mean."""

FALLBACK_SCHEMA = 5
"""That of manifests with a fallback; readers of schema 4 do not know its files."""

EXIT_SCHEMA = 6
"""That of manifests with early exits; readers of schema 5 would miss their golden outputs."""

GATE_SCHEMA = 7
"""That of manifests with a gate; readers of schema 6 would take its logits for an answer."""

FAR_SCHEMA = 8
"""That of manifests with a gate for far frames; readers of schema 7 know no such rule."""

SPREAD = "kernel_spread"
"""In a manifest's provenance: ``kernels``, which other sets of kernels ran the golden inputs when it was built, and how
far off they were, by task output: ``most``, in steps of integers or, for floats, as a share of the largest magnitude,
and ``rms``, the root mean square as a share of the golden output's standard deviation."""

SPREAD_OF_FALLBACK = "fallback_kernel_spread"

READABLE = (SCHEMA, ARRAY_SCHEMA, PARTED_SCHEMA, PAD_SCHEMA, FALLBACK_SCHEMA, EXIT_SCHEMA, GATE_SCHEMA, FAR_SCHEMA)

PARTED_KINDS: tuple[Kind, ...] = ("regression", "landmarks", "detection", "other")
"""Those whose outputs may be parted; the answer of the others is a comparison within one tensor."""

Relation = Literal["donor", "relative", "independent", "unshared"]


@dataclass(frozen=True)
class Segment:
    """One subgraph of model.tflite with its own signature; segments are listed in an order in which they can run.

    ``inputs`` and ``outputs`` map the signature's argument names to names in :attr:`Manifest.tensors`. A segment's
    inputs are frames (:attr:`Manifest.inputs`) or outputs of earlier segments.
    """

    name: str
    signature: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    precision: str
    macs: int
    weights_bytes: int
    operators: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """A network input: the tensor it fills and how a frame becomes it."""

    tensor: str
    preprocessing: Preparation


@dataclass(frozen=True)
class Task:
    """One question the bundle answers.

    ``outputs`` names the tensors that hold the answer, as segments write them, in the order of the original network.
    ``segments`` lists all segments the answer needs, in running order. ``fidelity`` holds what was measured at build
    time, each figure with its sample count. ``answer`` says how the outputs are decoded; None where ``kind`` says all.
    ``on`` names the task whose boxes it looks at; None where it looks at whole frames.

    ``joined`` is empty where ``outputs`` are the outputs of the original network. Where one of those joins parts of
    unlike range, ``outputs`` names the parts, each with a scale of its own, and ``joined`` says for every output of the
    original network, in its order, how it is put together: see :func:`multigraft.tensors.joining.joined_outputs`.

    ``exits`` are the early exits of a classification, in running order, or its gate; their segments are not among
    ``segments``. ``offload`` is how a server is asked for it; None where nothing was chosen. ``donor`` names the task
    whose network gave the trunk; ``branch`` names the grafted task on whose own part this one stands, None for the
    trunk itself.
    """

    name: str
    kind: Kind
    outputs: tuple[str, ...]
    segments: tuple[str, ...]
    labels: tuple[str, ...] = ()
    relation: Relation = "unshared"
    donor: str | None = None
    share_point: str | None = None
    fidelity: dict[str, Any] = field(default_factory=dict)
    answer: AnswerFormat | None = None
    on: On | None = None
    joined: tuple[Joined, ...] = ()
    exits: tuple[Exit, ...] = ()
    offload: OffloadChoice | None = None
    branch: str | None = None

    @property
    def all_segments(self) -> tuple[str, ...]:
        """Those that the answer needs, then those of the exits."""
        return (*self.segments, *(found.segment for found in self.exits))

    @property
    def has_gate(self) -> bool:
        """Whether frames may be answered as the one before, or not at all."""
        return any(found.is_gate for found in self.exits)

    @property
    def repeats(self) -> bool:
        """Whether frames may be answered as the one before."""
        return any(found.repeats for found in self.exits)


@dataclass(frozen=True)
class FileEntry:
    sha256: str
    size: int


@dataclass(frozen=True)
class Fallback:
    """Another model of the same tasks, for where the first cannot run; its inputs and answers are of the same form."""

    segments: tuple[Segment, ...]
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Manifest:
    """All of manifest.json."""

    name: str
    tasks: tuple[Task, ...]
    segments: tuple[Segment, ...]
    inputs: tuple[Input, ...]
    tensors: tuple[TensorSpec, ...]
    files: dict[str, FileEntry]
    provenance: dict[str, Any] = field(default_factory=dict)
    fallback: Fallback | None = None
    schema: int = SCHEMA

    def task(self, name: str) -> Task:
        """The task of that name.

        Raises:
            BundleError: There is none; the message lists those there are.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        have = ", ".join(t.name for t in self.tasks)
        raise BundleError(f"bundle {self.name!r} has no task {name!r}", f"choose from: {have}")

    def segment(self, name: str) -> Segment:
        return next(s for s in self.segments if s.name == name)

    def inputs_of(self, task: str) -> tuple[Input, ...]:
        """The network inputs that a task's segments read.

        Raises:
            BundleError: There is no such task.
        """
        read = {t for name in self.task(task).segments for t in self.segment(name).inputs.values()}
        return tuple(source for source in self.inputs if source.tensor in read)

    def tensor(self, name: str) -> TensorSpec:
        return next(t for t in self.tensors if t.name == name)

    def of_fallback(self, fallback: Fallback) -> Self:
        """What the manifest says when that model runs, but for the files."""
        provenance = {key: value for key, value in self.provenance.items() if key not in (SPREAD, SPREAD_OF_FALLBACK)}
        if SPREAD_OF_FALLBACK in self.provenance:
            provenance[SPREAD] = self.provenance[SPREAD_OF_FALLBACK]
        # A server holds the rest of the first model.
        tasks = tuple(dataclasses.replace(task, offload=None) for task in self.tasks)
        return dataclasses.replace(
            self,
            tasks=tasks,
            segments=fallback.segments,
            tensors=fallback.tensors,
            provenance=provenance,
            fallback=None,
            schema=SCHEMA,
        )

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        if any(isinstance(source.preprocessing, ArrayPreparation) for source in self.inputs):
            plain["schema"] = max(self.schema, ARRAY_SCHEMA)
        if any(task.joined for task in self.tasks):
            plain["schema"] = PARTED_SCHEMA
        for source in plain["inputs"]:
            if "pad" in source["preprocessing"]:
                if source["preprocessing"]["pad"] is None:
                    del source["preprocessing"]["pad"]
                else:
                    plain["schema"] = PAD_SCHEMA
        if self.fallback is None:
            del plain["fallback"]
        else:
            plain["schema"] = FALLBACK_SCHEMA
        if any(task.exits for task in self.tasks):
            plain["schema"] = EXIT_SCHEMA
        if any(task.has_gate for task in self.tasks):
            plain["schema"] = GATE_SCHEMA
        if any(found.is_far for task in self.tasks for found in task.exits):
            plain["schema"] = FAR_SCHEMA
        for task in plain["tasks"]:
            for name in ("answer", "joined", "on", "exits", "offload", "branch"):
                if not task[name]:
                    del task[name]
        return plain

    @classmethod
    def from_json(cls, data: Any, where: str = "manifest.json") -> Self:
        """Build a manifest from parsed JSON, checking types and references.

        Raises:
            BundleError: A field is missing or of the wrong type, a reference leads nowhere, or the schema is newer.
        """
        if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
            raise BundleError(f"{where} is not a multigraft manifest", "build the bundle again")
        if data["schema"] not in READABLE:
            raise BundleError(
                f"{where} has schema {data['schema']} and this multigraft reads schema {READABLE[-1]}",
                "use the multigraft version that built it, or build it again",
            )
        try:
            manifest: Self = decode(cls, data, "manifest")
            manifest._check_references()
        except (TypeError, KeyError, ValueError, StopIteration) as error:
            raise BundleError(f"{where} is damaged ({error})", "build the bundle again") from error
        return manifest

    def _check_references(self) -> None:
        tensors = {t.name for t in self.tensors}
        ready = {i.tensor for i in self.inputs}
        segments = {s.name for s in self.segments}
        for segment in self.segments:
            if missing := set(segment.inputs.values()) - ready:
                raise ValueError(f"segment {segment.name} reads {sorted(missing)} before anything wrote it")
            ready |= set(segment.outputs.values())
        if missing := ready - tensors:
            raise ValueError(f"tensors {sorted(missing)} are not described")
        for task in self.tasks:
            if missing := set(task.outputs) - ready:
                raise ValueError(f"task {task.name} answers with {sorted(missing)}, which nothing writes")
            if missing := set(task.segments) - segments:
                raise ValueError(f"task {task.name} needs segments {sorted(missing)}, which are not there")
            self._check_joined(task)
            self._check_exits(task)
            self._check_offload(task, tensors)
        self._check_cascades()
        self._check_trunks()
        if self.fallback is not None:
            self._check_fallback(self.fallback)

    def _check_fallback(self, fallback: Fallback) -> None:
        other = self.of_fallback(fallback)
        other._check_references()
        for name in sorted({i.tensor for i in self.inputs} | {name for t in self.tasks for name in t.outputs}):
            if self.tensor(name) != other.tensor(name):
                raise ValueError(f"tensor {name} is of another form in the fallback")

    def _check_offload(self, task: Task, tensors: set[str]) -> None:
        if task.offload is None:
            return
        task.offload.check(task.name)
        if not task.offload.is_local and task.offload.cut not in tensors:
            raise ValueError(f"task {task.name} travels as {task.offload.cut}, which is not there")

    def _check_exits(self, task: Task) -> None:
        if task.exits and (task.kind != "classification" or task.answer is not None or len(task.outputs) != 1):
            raise ValueError(f"task {task.name} has exits, which only a classification with one output has")
        if task.exits and self.fallback is not None:
            raise ValueError(f"task {task.name} has exits, whose thresholds are not those of the fallback")
        order = [s.name for s in self.segments]
        others = {name for t in self.tasks for name in (t.segments if t is task else t.all_segments)}
        read = {t for name in task.segments for t in self.segment(name).inputs.values()}
        done = -1
        for found in task.exits:
            found.check()
            if found.segment not in order or found.segment in others:
                raise ValueError(f"task {task.name} exits by segment {found.segment}, which is none of an exit")
            if found.is_gate and (len(task.exits) > 1 or task.on is not None):
                raise ValueError(f"task {task.name} has a gate, and more exits or boxes to look at")
            if order.index(found.segment) <= done:
                raise ValueError(f"task {task.name} has exits out of order")
            done = order.index(found.segment)
            made = {t for s in self.segments[:done] if s.name in task.segments for t in s.outputs.values()}
            segment = self.segment(found.segment)
            if missing := set(segment.inputs.values()) - made - ({i.tensor for i in self.inputs} & read):
                raise ValueError(f"exit {found.segment} reads {sorted(missing)}, which task {task.name} does not make")
            if found.output not in segment.outputs.values():
                raise ValueError(f"exit {found.segment} answers with {found.output}, which it does not write")
            if found.is_far:
                continue
            shapes = [math.prod(self.tensor(name).shape) for name in (found.output, task.outputs[0])]
            if shapes[0] != shapes[1] or shapes[0] < 2:
                raise ValueError(f"exit {found.segment} has {shapes[0]} classes and task {task.name} {shapes[1]}")

    def _check_cascades(self) -> None:
        tasks = {task.name: task for task in self.tasks}
        for task in self.tasks:
            seen = {task.name}
            while task.on is not None:
                if task.on.task not in tasks:
                    raise ValueError(f"task {task.name} looks at the boxes of {task.on.task}, which is not there")
                task = tasks[task.on.task]
                if task.name in seen:
                    raise ValueError(f"task {task.name} looks at its own boxes in the end")
                seen.add(task.name)

    def _check_trunks(self) -> None:
        tasks = {task.name: task for task in self.tasks}
        for task in self.tasks:
            chain = [task.name]
            while (name := tasks[chain[-1]].branch or tasks[chain[-1]].donor) is not None:
                if name not in tasks:
                    raise ValueError(f"task {chain[-1]} stands on {name}, which is not there")
                chain.append(name)
                if name in chain[:-1]:
                    raise ValueError(f"task {task.name} stands on itself in the end ({' on '.join(chain)})")
            if len(chain) == 1:
                continue
            if task.donor != chain[-1]:
                raise ValueError(
                    f"task {task.name} stands on {chain[1]}, on the trunk of {chain[-1]} and not of {task.donor}"
                )
            seen = [{source.tensor for source in self.inputs_of(name)} for name in chain[:2]]
            if task.on != tasks[chain[1]].on or not seen[0] & seen[1]:
                raise ValueError(f"task {task.name} stands on {chain[1]}, which looks at other frames")

    def _check_joined(self, task: Task) -> None:
        shapes = {t.name: t.shape for t in self.tensors if t.name in task.outputs}
        for output in task.joined:
            output.shape(shapes)
        if task.joined and task.kind not in PARTED_KINDS:
            raise ValueError(f"task {task.name} is a {task.kind}, whose outputs are never parted")
        if task.joined and set(task.outputs) != {part for output in task.joined for part in output.parts}:
            raise ValueError(f"task {task.name} does not join what it answers with")
