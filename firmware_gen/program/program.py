"""All tasks of a model as one list of steps: segments joined by the tensors that cross them, each step run on demand.

A bundle or a .tflite with several signatures holds one subgraph per segment; a plain .tflite holds one. Here they
become one :class:`Program`. Every step knows for which tasks it is needed, so the trunk runs once and a head only if
its task is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest
from multigraft.errors import InputError
from multigraft.firmware_gen.program.constant_shapes import with_constant_shapes
from multigraft.firmware_gen.program.validity import check_graph
from multigraft.firmware_gen.program.variables import initial_subgraphs, with_variables
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import Joined
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_structure
from multigraft.tflite.graph import Graph, Model, Op, Tensor

MOST_TASKS = 32
"""Tasks are bits of a uint32_t."""


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
    """A node and the tasks that need it (bits as in :attr:`Program.tasks`)."""

    node: Node
    tasks: int


@dataclass(frozen=True)
class Task:
    """A question: its bit is its place in :attr:`Program.tasks`, its answer the tensors named.

    ``joined`` says how outputs of the network are made of them where those were parted.
    """

    name: str
    outputs: tuple[str, ...]
    joined: tuple[Joined, ...] = ()


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

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The answers of all tasks, each once."""
        return tuple(self.tensors[n] for n in dict.fromkeys(n for task in self.tasks for n in task.outputs))


def load(source: bytes | Bundle, name: str = "model") -> Program:
    """Join the segments of a bundle or the subgraphs of a .tflite file.

    Raises:
        InputError: The file is damaged, a shape is not static, or signatures do not fit together.
    """
    if isinstance(source, Bundle):
        return _join(_read(source.model), source.manifest, source.manifest.name)
    return _join(_read(source), None, name)


def _read(content: bytes) -> Model:
    check_structure(content, "the model")
    return tflite_file.read(content, stateful=True)


def _join(model: Model, manifest: Manifest | None, name: str) -> Program:
    for graph in model.subgraphs:
        check_graph(graph)
    model = replace(model, subgraphs=tuple(map(with_constant_shapes, model.subgraphs)))
    if manifest is not None:
        # Whole networks answer: segments of early exits are left out.
        needed = {name for t in manifest.tasks for name in t.segments}
        parts = [(s.signature, s.inputs, s.outputs) for s in manifest.segments if s.name in needed]
        wanted = [Task(t.name, t.outputs, t.joined) for t in manifest.tasks]
        given = [i.tensor for i in manifest.inputs]
        return _assemble(model, parts, wanted, given, name)
    if initial_subgraphs(model) | {0} >= set(range(len(model.subgraphs))):
        graph, variables = with_variables(model, model.main)
        tensors = dict(graph.tensors)
        # The signature's argument name is what users know an output by; converters invent tensor names.
        known = {t: a for s in model.signatures for a, t in s.outputs.items()}
        tasks = [Task(_short(known.get(o, o)), (o,)) for o in graph.outputs]
        if len(tasks) == 1:
            tasks = [Task("main", tasks[0].outputs)]
        nodes = [_node(op, tensors) for op in graph.ops]
        return _program(name, [tensors[n] for n in graph.inputs], _distinct(tasks), nodes, tensors, variables)
    if not model.signatures:
        raise InputError("the model has several subgraphs and no signature", "give a bundle or a single network")
    arguments = [(s.name, {a: a for a in s.inputs}, {a: a for a in s.outputs}) for s in model.signatures]
    written = [n for _, _, outs in arguments for n in outs]
    read = {n for _, ins, _ in arguments for n in ins}
    given = list(dict.fromkeys(n for _, ins, _ in arguments for n in ins if n not in written))
    answers = [Task(part, tuple(n for n in outs if n not in read)) for part, _, outs in arguments if set(outs) - read]
    return _assemble(model, arguments, answers, given, name)


def _assemble(
    model: Model,
    parts: list[tuple[str, dict[str, str], dict[str, str]]],
    tasks: list[Task],
    given: list[str],
    name: str,
) -> Program:
    signatures = {s.name: s for s in model.signatures}
    tensors: dict[str, Tensor] = {}
    nodes: list[Node] = []
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
        nodes += _renamed(graph, part, crossing, tensors)
    missing = [n for n in given if n not in tensors]
    if missing:
        raise InputError(f"input {missing[0]!r} is read by no segment", "build the bundle again")
    return _program(name, [tensors[n] for n in given], tasks, nodes, tensors, variables)


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
    nodes: list[Node],
    tensors: dict[str, Tensor],
    variables: dict[str, Array],
) -> Program:
    if len(tasks) > MOST_TASKS:
        raise InputError(f"the model has {len(tasks)} tasks and one image takes {MOST_TASKS}", "split the bundle")
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
    for node in reversed(nodes):
        mask = 0
        for result in node.outputs:
            mask |= needed[result.name]
        for source in node.inputs:
            if source is not None:
                needed[source.name] |= mask
        if mask:
            steps.append(Step(node, mask))
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
