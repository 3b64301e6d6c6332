"""All tasks of a model as one list of steps: segments joined by the tensors that cross them, each step run on demand.

A bundle or a .tflite with several signatures holds one subgraph per segment; a plain .tflite holds one. Here they
become one :class:`Program`. Every step knows for which tasks it is needed, so the trunk runs once and a head only if
its task is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest
from multigraft.errors import InputError
from multigraft.exits.policy import Exit
from multigraft.exits.sureness import is_whole
from multigraft.firmware_gen.program.constant_shapes import with_constant_shapes
from multigraft.firmware_gen.program.validity import check_graph
from multigraft.firmware_gen.program.variables import initial_subgraphs, with_variables
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import Joined
from multigraft.tensors.specs import TensorSpec
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_structure
from multigraft.tflite.graph import Graph, Model, Op, Tensor

MOST_TASKS = 32
"""Tasks are bits of a uint32_t."""


NO_EXITS = "firmware takes early exits of 8-bit logits, where no task looks at boxes and no network keeps variables"
NO_GATES = "firmware takes no gates"


@dataclass(frozen=True)
class Node:
    """One operator with its tensors at hand; an absent optional input is None."""

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    intermediates: tuple[Tensor, ...] = ()

    @property
    def name(self) -> str:
        """TFLite name of the operator, or what a custom one is called."""
        return self.op.label

    def input(self, index: int) -> Tensor:
        """The input at ``index``, which has to be there."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise InputError(f"{self.place} lacks input {index}", "convert the model again")
        return tensor

    @property
    def written(self) -> str:
        """The tensor it writes first, for messages."""
        return self.outputs[0].name if self.outputs else "nothing"

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.name} that writes {self.outputs[0].name!r}" if self.outputs else self.name


@dataclass(frozen=True)
class Step:
    """A node and the tasks that need it (bits as in :attr:`Program.tasks`).

    ``exit`` is the early exit that it is computed for, a place in :attr:`Program.exits`; -1 for none.
    """

    node: Node
    tasks: int
    exit: int = -1


@dataclass(frozen=True)
class Task:
    """A question: its bit is its place in :attr:`Program.tasks`, its answer the tensors named.

    ``joined`` says how outputs of the network are made of them where those were parted.
    """

    name: str
    outputs: tuple[str, ...]
    joined: tuple[Joined, ...] = ()


@dataclass(frozen=True)
class EarlyExit:
    """An early exit of a task.

    Attributes:
        policy: When it is taken, and what was promised.
        task: Number of the task.
        spec: Its logits.
        whole: The answer of the whole network.
        said: int32, of the task: 0 where the whole network answered, else which of its exits did, from 1 on.
        number: Which of the exits of its task it is, from 1 on.
    """

    policy: Exit
    task: int
    spec: TensorSpec
    whole: str
    said: str
    number: int

    @property
    def logits(self) -> str:
        """The tensor with its answer."""
        return self.policy.output


@dataclass(frozen=True)
class Program:
    """What the firmware runs; tensors are unique by name over all segments."""

    name: str
    inputs: tuple[Tensor, ...]
    tasks: tuple[Task, ...]
    steps: tuple[Step, ...]
    tensors: dict[str, Tensor]
    variables: dict[str, Array] = field(default_factory=dict)
    """Tensors that outlive an inference, and what they hold at first."""
    exits: tuple[EarlyExit, ...] = ()
    """In running order. Their steps come behind all that they read; whether a frame takes them is decided there."""
    idle_bytes: int = 0
    """Of the arena, that something else uses when nothing runs."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The answers of all tasks, each once."""
        return tuple(self.tensors[n] for n in dict.fromkeys(n for task in self.tasks for n in task.outputs))


def load(source: bytes | Bundle, name: str = "model", exits: bool = True) -> Program:
    """Join the segments of a bundle or the subgraphs of a .tflite file.

    Args:
        source: The bundle, or the file's content.
        name: What to call a .tflite; a bundle has a name.
        exits: Take the early exits of a bundle. Each task with exits then has more answers, behind that of the whole
            network: which of them answered, and their logits.

    Raises:
        InputError: The file is damaged, a shape is not static, or signatures do not fit together.
    """
    if isinstance(source, Bundle):
        manifest = source.manifest
        if not exits or any(t.on is not None for t in manifest.tasks):
            # Tasks on boxes would leave box by box.
            manifest = replace(manifest, tasks=tuple(replace(t, exits=()) for t in manifest.tasks))
        kept = (replace(t, exits=tuple(e for e in t.exits if not e.is_gate)) for t in manifest.tasks)
        manifest = replace(manifest, tasks=tuple(kept))
        program = _join(_read(source.model), manifest, manifest.name)
        # A frame that leaves would not assign the variables behind.
        return load(source, name, False) if program.exits and program.variables else program
    return _join(_read(source), None, name)


def _read(content: bytes) -> Model:
    check_structure(content, "the model")
    return tflite_file.read(content, stateful=True)


def _join(model: Model, manifest: Manifest | None, name: str) -> Program:
    for graph in model.subgraphs:
        check_graph(graph)
    model = replace(model, subgraphs=tuple(map(with_constant_shapes, model.subgraphs)))
    if manifest is not None:
        early = _early_exits(manifest)
        needed = {name for t in manifest.tasks for name in t.segments} | {e.policy.segment for e in early}
        segments = [s for s in manifest.segments if s.name in needed]
        parts = [(s.signature, s.inputs, s.outputs) for s in segments]
        order = [e.policy.segment for e in early]
        owners = {s.signature: order.index(s.name) for s in segments if s.name in order}
        wanted = [
            Task(t.name, (*t.outputs, *(e.logits for e in early if e.task == number)), t.joined)
            for number, t in enumerate(manifest.tasks)
        ]
        given = [i.tensor for i in manifest.inputs]
        return _saying(_assemble(model, parts, wanted, given, name, owners), early)
    if initial_subgraphs(model) | {0} >= set(range(len(model.subgraphs))):
        graph, variables = with_variables(model, model.main)
        tensors = dict(graph.tensors)
        # The signature's argument name is what users know an output by; converters invent tensor names.
        known = {t: a for s in model.signatures for a, t in s.outputs.items()}
        tasks = [Task(_short(known.get(o, o)), (o,)) for o in graph.outputs]
        if len(tasks) == 1:
            tasks = [Task("main", tasks[0].outputs)]
        steps = [Step(_node(op, tensors), 0) for op in graph.ops]
        return _program(name, [tensors[n] for n in graph.inputs], _distinct(tasks), steps, tensors, variables)
    if not model.signatures:
        raise InputError("the model has several subgraphs and no signature", "give a bundle or a single network")
    arguments = [(s.name, {a: a for a in s.inputs}, {a: a for a in s.outputs}) for s in model.signatures]
    written = [n for _, _, outs in arguments for n in outs]
    read = {n for _, ins, _ in arguments for n in ins}
    given = list(dict.fromkeys(n for _, ins, _ in arguments for n in ins if n not in written))
    answers = [Task(part, tuple(n for n in outs if n not in read)) for part, _, outs in arguments if set(outs) - read]
    return _assemble(model, arguments, answers, given, name, {})


def _assemble(
    model: Model,
    parts: list[tuple[str, dict[str, str], dict[str, str]]],
    tasks: list[Task],
    given: list[str],
    name: str,
    owners: Mapping[str, int],
) -> Program:
    """The program of ``parts``; ``owners`` has the exits that some of them, by signature, are computed for."""
    signatures = {s.name: s for s in model.signatures}
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []
    variables: dict[str, Array] = {}
    for part, inputs, outputs in parts:
        if part not in signatures:
            raise InputError(f"the model has no signature {part!r}", "build the bundle again")
        signature = signatures[part]
        graph, initial_values = with_variables(model, model.subgraphs[signature.subgraph])
        variables |= initial_values
        unknown = [a for a in inputs if a not in signature.inputs]
        unknown += [a for a in outputs if a not in signature.outputs]
        if unknown:
            raise InputError(f"the model's {part!r} has no argument {unknown[0]!r}", "build the bundle again")
        crossing = {signature.inputs[a]: t for a, t in inputs.items()}
        crossing |= {signature.outputs[a]: t for a, t in outputs.items()}
        crossing |= {n: n for op in graph.ops if op.name == "VAR_HANDLE" for n in op.outputs}
        crossing |= {n: n for n in initial_values}
        steps += [Step(node, 0, owners.get(part, -1)) for node in _renamed(graph, part, crossing, tensors)]
    missing = [n for n in given if n not in tensors]
    if missing:
        raise InputError(f"input {missing[0]!r} is read by no segment", "build the bundle again")
    return _program(name, [tensors[n] for n in given], tasks, steps, tensors, variables)


def _early_exits(manifest: Manifest) -> list[EarlyExit]:
    """The exits of a manifest in running order, named as no tensor is."""
    taken = {t.name for t in manifest.tensors}
    found = []
    for number, task in enumerate(manifest.tasks):
        if not all(is_whole(manifest.tensor(e.output)) for e in task.exits):
            continue
        said = f"{task.name}/exit"
        while said in taken:
            said += "_"
        taken.add(said)
        found += [
            EarlyExit(policy, number, manifest.tensor(policy.output), task.outputs[0], said, k)
            for k, policy in enumerate(task.exits, 1)
        ]
    if len(found) > MOST_TASKS:
        raise InputError(
            f"the bundle has {len(found)} exits and one image takes {MOST_TASKS}", "generate with --no-exits"
        )
    order = [s.name for s in manifest.segments]
    return sorted(found, key=lambda e: order.index(e.policy.segment))


def _saying(program: Program, early: Sequence[EarlyExit]) -> Program:
    """The program whose tasks with exits also tell by which they left, behind the answer of the whole network."""
    said = {e.task: Tensor(e.said, (1,), "int32") for e in early}
    tasks = [
        replace(task, outputs=(task.outputs[0], said[number].name, *task.outputs[1:])) if number in said else task
        for number, task in enumerate(program.tasks)
    ]
    tensors = {**program.tensors, **{t.name: t for t in said.values()}}
    return replace(program, tasks=tuple(tasks), tensors=tensors, exits=tuple(early))


def _renamed(graph: Graph, part: str, crossing: dict[str, str], tensors: dict[str, Tensor]) -> list[Node]:
    """The nodes of one segment, its inner tensors prefixed by its name so that segments do not clash."""
    local = {}
    for tensor in graph.tensors.values():
        name = crossing.get(tensor.name, f"{part}/{tensor.name}")
        renamed = replace(tensor, name=name)
        if name in tensors and (renamed.shape, renamed.dtype, renamed.quant) != (
            tensors[name].shape,
            tensors[name].dtype,
            tensors[name].quant,
        ):
            raise InputError(f"tensor {name!r} differs between segments", "build the bundle again")
        local[tensor.name] = tensors.setdefault(name, renamed)
    return [_node(op, local) for op in graph.ops]


def _node(op: Op, tensors: dict[str, Tensor]) -> Node:
    inside = tuple(tensors[n] for n in op.intermediates)
    inputs = tuple(tensors.get(n) if n else None for n in op.inputs)
    return Node(op, inputs, tuple(tensors[n] for n in op.outputs), inside)


def _program(
    name: str,
    inputs: list[Tensor],
    tasks: list[Task],
    found: list[Step],
    tensors: dict[str, Tensor],
    variables: dict[str, Array],
) -> Program:
    """The program of steps whose tasks are still to be told."""
    if len(tasks) > MOST_TASKS:
        raise InputError(f"the model has {len(tasks)} tasks and one image takes {MOST_TASKS}", "split the bundle")
    nodes = [step.node for step in found]
    _check_order(inputs, tasks, nodes, variables)
    needed = {t.name: 0 for t in tensors.values()}
    for node in nodes:
        if node.name in ("CALL_ONCE", "VAR_HANDLE"):
            # Whichever tasks are asked for, a variable goes on as if it were all of them.
            needed |= {t.name: (1 << len(tasks)) - 1 for t in node.outputs}
    needed |= dict.fromkeys(variables, (1 << len(tasks)) - 1)
    for bit, task in enumerate(tasks):
        for output in task.outputs:
            needed[output] |= 1 << bit
    steps = []
    for step in reversed(found):
        mask = 0
        for result in step.node.outputs:
            mask |= needed[result.name]
        for source in step.node.inputs:
            if source is not None:
                needed[source.name] |= mask
        if mask:
            steps.append(replace(step, tasks=mask))
    return Program(name, tuple(inputs), tuple(tasks), tuple(reversed(steps)), tensors, variables)


def _check_order(inputs: list[Tensor], tasks: list[Task], nodes: list[Node], variables: dict[str, Array]) -> None:
    """Refuse segments that do not follow on each other, each of which is a graph in itself."""
    known = {t.name for t in inputs} | set(variables)
    for node in nodes:
        for source in node.inputs:
            if source is not None and source.data is None and source.name not in known and not _of_variable(node):
                raise InputError(f"{node.place} reads {source.name!r} before it is written", "build the bundle again")
        for result in node.outputs:
            if result.name in known and result.name not in variables and not _of_variable(node):
                raise InputError(f"{node.place} is not the only one that does", "build the bundle again")
            known.add(result.name)
    for task in tasks:
        missing = [name for name in task.outputs if name not in known]
        if missing:
            raise InputError(
                f"the answer {missing[0]!r} of task {task.name!r} is not written", "build the bundle again"
            )


def _of_variable(node: Node) -> bool:
    return node.name in ("VAR_HANDLE", "CALL_ONCE", "READ_VARIABLE", "ASSIGN_VARIABLE")


def _short(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name.rpartition("/")[2]).strip("_").lower()[:40] or "output"


def _distinct(tasks: list[Task]) -> list[Task]:
    seen: set[str] = set()
    result = []
    for task in tasks:
        name, number = task.name, 1
        while name in seen:
            number += 1
            name = f"{task.name}_{number}"
        seen.add(name)
        result.append(replace(task, name=name))
    return result
