"""A bundle or an int8 .tflite as C: operators are checked, lowered for the core, placed in one arena, and printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from multigraft.bundle.bundle import Bundle
from multigraft.errors import InputError, UnsupportedOperatorError, UsageError
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.cascades.cascade import cascade_of
from multigraft.firmware_gen.cascades.interface import header_notes
from multigraft.firmware_gen.cascades.weaving import over_loops, weave
from multigraft.firmware_gen.exits.definitions import exit_definitions, exit_notes, exit_prologue
from multigraft.firmware_gen.exits.ways import exit_ram_bytes, project_exits
from multigraft.firmware_gen.exits.weaving import weave_exits
from multigraft.firmware_gen.kernels.c_text import string
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.learning.definitions import (
    SOLVING,
    learning_constants,
    learning_definitions,
    learning_notes,
    learning_prologue,
    with_learner,
)
from multigraft.firmware_gen.learning.last_layer import Learning, chain_of, check_boxes, widened
from multigraft.firmware_gen.learning.learnt_layer import Learner, learner_of
from multigraft.firmware_gen.memory.planner import ArenaPlan, Buffer, Sharing, lower_bound, plan
from multigraft.firmware_gen.memory.regions import Space, spread
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.passes.fold_padding import fold_padding
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.passes.read_in_place import read_in_place
from multigraft.firmware_gen.passes.streaming import stream
from multigraft.firmware_gen.program.float_layers import check_float_layers
from multigraft.firmware_gen.program.program import Node, Program, Step, load
from multigraft.firmware_gen.project.emission import c_files, place_of
from multigraft.firmware_gen.project.naming import Naming, renamed
from multigraft.firmware_gen.project.project import Port, Project, ProjectRegion, ProjectTask, StepReport, Work
from multigraft.firmware_gen.sounds.sound_files import sound_files, sound_ram_bytes
from multigraft.firmware_gen.sounds.sound_inputs import sound_inputs
from multigraft.tflite.graph import Graph, Tensor
from multigraft.tflite.macs import op_macs

STORED = ("int8", "uint8")
"""Types of inputs and outputs, beside float32 that is converted."""
_QUANTISE = (
    "quantise it here: name it as the model of a [[task]] in multigraft.toml with some hundred unlabelled frames, run "
    "`multigraft build`, and give the bundle"
)
_ALONE = Naming()
FINAL_NODES = 60_000
"""Search nodes for the plan that is used, some seconds at most; those that fusions are compared by get fewer."""


def generate(
    model: bytes | Bundle,
    *,
    core: CoreFeatures,
    name: str = "model",
    spaces: Sequence[Space] = (),
    ram_bytes: int | None = None,
    flash_bytes: int | None = None,
    frame: tuple[int, int] | None = None,
    naming: Naming = _ALONE,
    exits: bool = True,
    learn: Learning | None = None,
) -> Project:
    """Generate C for ``model``.

    Args:
        model: Content of an int8 .tflite file, with one or several signatures, or a bundle.
        core: What the kernels are made for.
        name: What to call a .tflite; a bundle has a name.
        spaces: Memories for the arena, the first being where data lies anyway; the others are used if it is too small.
            None given means one of any size.
        ram_bytes: Budget for the arena, over all memories; None for none.
        flash_bytes: Budget for constants, which are what a model certainly takes of the flash; None for none.
        frame: Height and width of the frame that tasks on boxes cut crops of; None for the first detector's input.
        naming: What symbols and files are called.
        exits: Take the early exits of a bundle.
        learn: Which task's last layer the board may solve anew; None for none.

    Raises:
        ConfigurationError: A task looks at boxes in a way that firmware does not know.
        InputError: The file is damaged, or not an int8 model.
        UnsupportedOperatorError: An operator, or its use, is not supported; all of them are listed.
        UsageError: A budget or the memories are exceeded, the message has the number of bytes missing; or a task cannot
            learn.
    """
    program = load(model, name, exits)
    if isinstance(model, Bundle):
        check_float_layers(program, model.manifest)
    check(program)
    cascade = cascade_of(model, program, frame) if isinstance(model, Bundle) else None
    learner = None
    if learn is not None:
        program, before = _widened(program, learn, cascade is not None)
    whole = fold_padding(program)
    pruned = program = prune(whole)
    if learn is not None:
        learner = learner_of(program, learn, before)
        program = replace(program, idle_bytes=learner.solving_bytes)
    steps = with_learner([_lowered(step, core) for step in program.steps], learner)
    steps = read_in_place(steps, {t.name for t in program.outputs})
    steps = weave_exits(program, steps)
    places = _resolve_views(steps)
    steps = [
        replace(s, reads=tuple(places.get(n, n) for n in s.reads), writes=tuple(places.get(n, n) for n in s.writes))
        for s in steps
        if not s.kernel.view
    ]
    needs: tuple[tuple[int, int], ...] = ()
    if cascade is not None:
        woven = weave(cascade, program, steps, places)
        program, steps, needs = woven.program, woven.steps, woven.needs
    hearing = sound_inputs(model, program.inputs) if isinstance(model, Bundle) else ()
    variable_bytes = sum(v.nbytes for v in program.variables.values()) + sound_ram_bytes(hearing)
    variable_bytes += exit_ram_bytes(program) + (learner.ram_bytes if learner is not None else 0)
    spaces = [replace(s, size=s.size - (0 if k else variable_bytes)) for k, s in enumerate(spaces)]
    kept = {places.get(t.name, t.name) for t in program.outputs}
    steps = stream(
        steps,
        kept,
        lambda some: plan(*_buffers(program, some, places)).size,
        lambda some: lower_bound(*_buffers(program, some, places)),
    )
    try:
        arena = _final_plan(program, steps, places, spaces)
    except UsageError as error:
        if learner is not None:
            error.remedy += f", or leave out --learn, which takes {learner.ram_bytes} bytes beside the arena and "
            error.remedy += f"{learner.solving_bytes} in it"
        raise
    notes = exit_notes(program) if cascade is None else header_notes(cascade)
    project = _project(program, steps, places, arena, core, spaces, needs, notes, naming, learner)
    project = replace(
        project,
        given=_work(whole),
        left=_work(pruned),
        files=renamed({**project.files, **sound_files(hearing)}, naming.prefix),
        variable_bytes=variable_bytes,
    )
    check_budgets(project, ram_bytes, flash_bytes)
    return project


def _widened(program: Program, learn: Learning, has_boxes: bool) -> tuple[Program, int]:
    """The program with room for more classes, and how many its task had."""
    check_boxes(has_boxes)
    layer = program.steps[chain_of(program, learn)[0]].node
    return widened(program, learn), layer.input(1).shape[0]


def check(program: Program) -> None:
    """Refuse what the generator cannot do, all of it in one message.

    Raises:
        InputError: Inputs or outputs are of types that are neither stored here nor converted first or last.
        UnsupportedOperatorError: An operator has no kernel or breaks a constraint of it.
    """
    said = {found.said for found in program.exits}
    for tensor in (*program.inputs, *(t for t in program.outputs if t.name not in said)):
        if tensor.dtype not in STORED and not _converted(program, tensor):
            unknown = dict.fromkeys(s.node.name for s in program.steps if s.node.name not in OPERATORS)
            more = f", and there is no kernel for {', '.join(unknown)}" if unknown else ""
            real = tensor.dtype in ("float32", "float16")
            raise InputError(
                f"the model's {tensor.name!r} is {tensor.dtype}, not {' or '.join(STORED)}{more}",
                _QUANTISE if real else "quantise the model to int8 with int8 or uint8 inputs and outputs",
            )
    problems: dict[str, list[str]] = {}
    for step in program.steps:
        node = step.node
        operator = OPERATORS.get(node.name)
        broken = "it has no kernel here." if operator is None else operator.broken(node)
        if broken:
            problems.setdefault(f"{node.name}: {broken.rstrip('.').lower()}", []).append(node.written)
    if problems:
        listed = [f"{problem} ({_some(places)})" for problem, places in problems.items()]
        raise UnsupportedOperatorError(
            "; ".join(listed), "see `multigraft firmware ops` for what is supported and convert the model again"
        )


def _some(places: Sequence[str]) -> str:
    """The first of some places, and how many there are."""
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]!r}{more}"


def _converted(program: Program, tensor: Tensor) -> bool:
    """A float32 input that is converted first, a float32 output that is computed last, or places as an answer."""
    readers = {s.node.name for s in program.steps if tensor.name in [t.name for t in s.node.inputs if t is not None]}
    writers = {s.node.name for s in program.steps if tensor.name in [t.name for t in s.node.outputs]}
    if tensor.dtype == "int32":
        return not readers and bool(writers) and writers <= {"ARG_MAX", "ARG_MIN"}
    real = tensor.dtype == "float32" and readers <= {"QUANTIZE", "LceQuantize"}
    return real and writers <= {"DEQUANTIZE", "LceDequantize", "LceBconv2d"}


def _lowered(step: Step, core: CoreFeatures) -> LoweredStep:
    node = step.node
    kernel = replace(OPERATORS[node.name].lower(node, core), macs=_macs(node))
    reads = tuple(t.name if t is not None and t.data is None else "" for t in node.inputs)
    return LoweredStep(step, kernel, reads, tuple(t.name for t in node.outputs))


def _resolve_views(steps: Sequence[LoweredStep]) -> dict[str, str]:
    """Tensor to the buffer it lies in, for those that lie in another's."""
    places: dict[str, str] = {}
    for s in steps:
        if s.kernel.view and s.reads:
            places[s.writes[0]] = places.get(s.reads[0], s.reads[0])
    return places


def _final_plan(
    program: Program, steps: Sequence[LoweredStep], places: dict[str, str], spaces: Sequence[Space]
) -> ArenaPlan:
    buffers, sharings = _buffers(program, steps, places)
    alone = plan(buffers, sharings, FINAL_NODES)
    if not spaces or alone.size <= spaces[0].size:
        return alone
    if len(spaces) > 1:
        ports = {places.get(t.name, t.name) for t in (*program.inputs, *program.outputs)}
        # What peripherals may fill or send has to lie where they reach it.
        buffers = [replace(b, dma=b.name in ports) for b in buffers]
        spread_out = spread(buffers, spaces, sharings)
        if spread_out is not None:
            return spread_out
    there = " and ".join(f"{max(s.size, 0)} bytes in {s.name}" for s in spaces)
    # What lies in RAM beside the arena may by itself be more than there is.
    missing = alone.size - sum(max(s.size, 0) for s in spaces[1:]) - spaces[0].size
    needs = f"the model needs {alone.size} bytes of RAM and there are {there}"
    raise UsageError(
        f"{needs}, {missing} too few" if missing > 0 else f"{needs}, over which it cannot be spread",
        "choose a smaller network or a board with more RAM",
    )


def _buffers(
    program: Program, steps: Sequence[LoweredStep], places: dict[str, str]
) -> tuple[list[Buffer], list[Sharing]]:
    """Buffers with their lifetimes, and which may share memory. Inputs live from step -1, outputs to the end."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def touch(tensor: Tensor, place: str, index: int) -> None:
        if place in program.variables:
            return
        sizes[place] = max(sizes.get(place, 0), tensor.stored_bytes)
        first[place] = min(first.get(place, index), index)
        last[place] = max(last.get(place, index), index)

    for given in program.inputs:
        touch(given, places.get(given.name, given.name), -1)
    for index, s in enumerate(steps):
        for tensor, place in zip(s.step.node.inputs, s.reads, strict=True):
            if tensor is not None and place:
                touch(tensor, place, index)
        for result, place in zip(s.step.node.outputs, s.writes, strict=True):
            touch(result, place, index)
    for answer in program.outputs:
        touch(answer, places.get(answer.name, answer.name), len(steps))
    over_loops(steps, first, last)
    buffers = [Buffer(name, sizes[name], first[name], last[name]) for name in sizes]
    if program.idle_bytes:
        buffers.append(Buffer(SOLVING, program.idle_bytes, len(steps) + 1, len(steps) + 1))
    buffers += [
        Buffer(scratch_name(i), s.kernel.scratch_bytes, i, i) for i, s in enumerate(steps) if s.kernel.scratch_bytes
    ]
    sharings = []
    for index, s in enumerate(steps):
        for position, overlap in s.kernel.overlaps.items():
            source = s.reads[position]
            dies = last.get(source) == index and s.reads.count(source) == 1
            if dies and source not in s.writes and first[s.writes[0]] == index:
                sharings.append(Sharing(s.writes[0], source, overlap.distance))
    return buffers, sharings


def scratch_name(index: int) -> str:
    """Name of the scratch buffer of step ``index``."""
    return f"scratch of step {index}"


def _project(
    program: Program,
    steps: Sequence[LoweredStep],
    places: dict[str, str],
    arena: ArenaPlan,
    core: CoreFeatures,
    spaces: Sequence[Space],
    needs: Sequence[tuple[int, int]] = (),
    notes: Sequence[str] = (),
    naming: Naming = _ALONE,
    learner: Learner | None = None,
) -> Project:
    def port(tensor: Tensor) -> Port:
        place = places.get(tensor.name, tensor.name)
        quant = tensor.quant if tensor.dtype in STORED else None
        scale, zero_point = (quant.scales[0], quant.zero_points[0]) if quant else (0.0, 0)
        where = (arena.offsets[place], tensor.stored_bytes, arena.regions.get(place, 0))
        return Port(tensor.name, tensor.shape, scale, zero_point, *where, tensor.dtype)

    outputs = tuple(port(t) for t in program.outputs)
    names = [o.name for o in outputs]
    tasks = tuple(ProjectTask(t.name, tuple(names.index(o) for o in t.outputs), t.joined) for t in program.tasks)
    reports = tuple(
        StepReport(
            s.step.node.name, s.step.node.written, s.step.tasks, s.kernel.macs,
            len(s.kernel.constant), s.kernel.scratch_bytes,
        )
        for s in steps
    )  # fmt: skip
    inputs = tuple(port(t) for t in program.inputs)
    shares = (arena.size, *arena.elsewhere)
    regions = tuple(
        ProjectRegion(s.name, share, s.size, s.section) for s, share in zip(spaces, shares, strict=False) if share
    ) or (ProjectRegion("RAM", arena.size, None, ""),)
    told = learning_notes(learner, string(tasks[learner.task].name)) if learner is not None else ()
    files, constant_bytes = c_files(
        program.name, steps, arena, inputs, outputs, tasks, spaces, program.variables, needs, (*notes, *told), naming,
        exit_definitions(program) + learning_definitions(learner, place_of(arena, SOLVING)),
        (*exit_prologue(program), *learning_prologue(learner)),
    )  # fmt: skip
    lifetimes = {b.name: (b.size, b.first, b.last) for b in _buffers(program, steps, places)[0]}
    return Project(
        program.name,
        core,
        files,
        inputs,
        outputs,
        tasks,
        reports,
        arena,
        lifetimes,
        constant_bytes + learning_constants(learner),
        regions,
        sum(v.nbytes for v in program.variables.values()),
        exits=project_exits(program, steps),
        learning=learner.told if learner is not None else None,
    )


def _macs(node: Node) -> int:
    names = zip((*node.op.inputs, *node.op.outputs), (*node.inputs, *node.outputs), strict=True)
    tensors = {name: tensor for name, tensor in names if tensor is not None}
    return op_macs(Graph("", (), (), (node.op,), tensors), node.op)


def _work(program: Program) -> Work:
    nodes = [step.node for step in program.steps]
    constants = {t.name: t.stored_bytes for n in nodes for t in n.inputs if t is not None and t.data is not None}
    return Work(sum(map(_macs, nodes)), sum(constants.values()))


def check_budgets(project: Project, ram_bytes: int | None, flash_bytes: int | None) -> None:
    """Refuse a project that takes more than was allowed.

    Raises:
        UsageError: It does; the message has the number of bytes missing.
    """
    needed = project.arena_bytes + project.variable_bytes
    if ram_bytes is not None and needed > ram_bytes:
        raise UsageError(
            f"the model needs {needed} bytes of RAM, {needed - ram_bytes} more than there are",
            "choose a smaller network or a board with more RAM",
        )
    if flash_bytes is not None and project.constant_bytes > flash_bytes:
        raise UsageError(
            f"the weights need {project.constant_bytes} bytes of flash, {project.constant_bytes - flash_bytes} more"
            " than there are",
            "choose a smaller network or a board with more flash",
        )
