"""Several models in one image: names of their own, and one arena in which they take turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from multigraft import serial_protocol as protocol
from multigraft.bundle.bundle import Bundle
from multigraft.errors import MultigraftError, UsageError
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.generator import check_budgets, generate
from multigraft.firmware_gen.memory.planner import ArenaPlan
from multigraft.firmware_gen.memory.regions import Space
from multigraft.firmware_gen.project.emission import in_region
from multigraft.firmware_gen.project.naming import Naming, check_prefixes
from multigraft.firmware_gen.project.project import (
    Part,
    Port,
    Project,
    ProjectExit,
    ProjectRegion,
    ProjectTask,
    StepReport,
    Work,
)

_DEFAULT_SPACE = Space("RAM", 1 << 62)


def generate_several(
    models: Mapping[str, bytes | Bundle],
    *,
    core: CoreFeatures,
    name: str,
    spaces: Sequence[Space] = (),
    ram_bytes: int | None = None,
    flash_bytes: int | None = None,
    frame: tuple[int, int] | None = None,
    exits: bool = True,
) -> Project:
    """Generate C for models that never run at once: each as :func:`~multigraft.firmware_gen.generator.generate` does.

    Args:
        models: Prefix of a model's symbols and files to the model.
        core: As for one.
        name: Prefix of what they share: the arena ``NAME_arena``, and of the library's names.
        spaces: As for one; variables of all models lie in the first one, beside the arena.
        ram_bytes: As for one, over all.
        flash_bytes: As for one, over all.
        frame: As for one, for those that take one.
        exits: As for one.

    Raises:
        UsageError: Prefixes clash, or a budget or the memories are exceeded.
        MultigraftError: As for one model; the problem begins with its prefix.
    """
    check_prefixes([name] if list(models) == [name] else [*models, name])
    arena = f"{name}_arena" if len(models) > 1 else ""
    projects: list[Project] = []
    for prefix, model in models.items():
        taken = sum(p.variable_bytes for p in projects)
        left = [replace(s, size=s.size - (0 if k else taken)) for k, s in enumerate(spaces)]
        naming = Naming(prefix, arena, sum(len(p.steps) for p in projects))
        try:
            projects.append(
                generate(model, core=core, name=prefix, spaces=left, frame=frame, naming=naming, exits=exits)
            )
        except MultigraftError as error:
            error.problem = f"{prefix}: {error.problem}"
            raise
    project = _joined(projects, list(models), name, spaces or (_DEFAULT_SPACE,))
    if spaces and (missing := project.plan.size + project.variable_bytes - spaces[0].size) > 0:
        raise UsageError(
            f"the models' variables need {project.variable_bytes} bytes of RAM beside an arena of {project.plan.size} "
            f"bytes, {missing} too few",
            "leave out a model or choose a board with more RAM",
        )
    check_budgets(project, ram_bytes, flash_bytes)
    return project


def _joined(projects: Sequence[Project], prefixes: Sequence[str], name: str, spaces: Sequence[Space]) -> Project:
    """The projects of some models as one, its inputs, outputs and tasks being all of theirs."""
    first = projects[0]
    files: dict[str, str] = {}
    for project in projects:
        for file, text in project.files.items():
            if files.setdefault(file, text) != text:
                raise UsageError(f"two models make a file {file}", "name one of them otherwise, as in NAME=FILE")
    shares = [max(sizes) for sizes in zip_longest(*(_shares(p.plan) for p in projects), fillvalue=0)]
    if len(projects) > 1:
        files |= _arena_files(f"{name}_arena", shares, spaces)
    inputs = _named(projects, prefixes, lambda p: p.inputs, "input")
    outputs = _named(projects, prefixes, lambda p: p.outputs, "output")
    tasks: list[ProjectTask] = []
    steps: list[StepReport] = []
    lifetimes: dict[str, tuple[int, int, int]] = {}
    offsets: dict[str, int] = {}
    places: dict[str, int] = {}
    found: list[ProjectExit] = []
    answers = 0
    for prefix, project in zip(prefixes, projects, strict=True):
        for buffer, (size, begins, ends) in project.lifetimes.items():
            lifetimes[f"{prefix}/{buffer}"] = (
                size,
                len(steps) + max(begins, 0),
                len(steps) + min(ends, len(project.steps) - 1),
            )
        offsets |= {f"{prefix}/{buffer}": offset for buffer, offset in project.plan.offsets.items()}
        places |= {f"{prefix}/{buffer}": region for buffer, region in project.plan.regions.items()}
        steps += [replace(s, output=f"{prefix}/{s.output}", tasks=s.tasks << len(tasks)) for s in project.steps]
        found += [
            replace(
                e,
                task=e.task + len(tasks),
                output=e.output + answers,
                said=e.said + answers,
                whole=e.whole + answers,
                macs=e.macs + sum(s.macs for other in projects if other is not project for s in other.steps),
            )
            for e in project.exits
        ]
        alone = len(project.tasks) == 1
        tasks += [
            ProjectTask(prefix if alone else f"{prefix}/{t.name}", tuple(answers + k for k in t.outputs))
            for t in project.tasks
        ]
        answers += len(project.outputs)
    bound = max(p.plan.bound for p in projects)
    regions = [
        ProjectRegion(s.name, share, None if s is _DEFAULT_SPACE else s.size, s.section)
        for s, share in zip(spaces, shares, strict=False)
        if share
    ]
    return Project(
        name,
        first.core,
        files,
        inputs,
        outputs,
        tuple(tasks),
        tuple(steps),
        ArenaPlan(offsets, shares[0], bound, places, tuple(shares[1:])),
        lifetimes,
        sum(p.constant_bytes for p in projects),
        tuple(regions),
        sum(p.variable_bytes for p in projects),
        Work(sum(p.given.macs for p in projects), sum(p.given.weights_bytes for p in projects)),
        Work(sum(p.left.macs for p in projects), sum(p.left.weights_bytes for p in projects)),
        name,
        tuple(
            Part(prefix, len(p.inputs), len(p.outputs), len(p.tasks), len(p.steps), len(p.exits))
            for prefix, p in zip(prefixes, projects, strict=True)
        ),
        tuple(found),
    )


def _shares(plan: ArenaPlan) -> tuple[int, ...]:
    return (plan.size, *plan.elsewhere)


def _named(
    projects: Sequence[Project], prefixes: Sequence[str], ports: Callable[[Project], tuple[Port, ...]], kind: str
) -> tuple[Port, ...]:
    """All inputs or outputs under names that differ on a device; numbered where what it keeps of them is equal."""
    named = [(f, p, k) for f, project in zip(prefixes, projects, strict=True) for k, p in enumerate(ports(project))]
    full = [f"{prefix}/{port.name}" for prefix, port, _ in named]
    if len(set(map(protocol.name_on_device, full))) < len(full):
        full = [f"{prefix[:16]}/{kind}_{k}" for prefix, _, k in named]
    return tuple(replace(port, name=called) for called, (_, port, _) in zip(full, named, strict=True))


def _arena_files(name: str, shares: Sequence[int], spaces: Sequence[Space]) -> dict[str, str]:
    """The memory that the models take turns in, declared and defined."""
    head, declared, defined = "/* Generated by multigraft; do not edit: generate again. */\n", "", ""
    for region, share in enumerate(shares):
        if not share:
            continue
        variable = f"{name}_{region}" if region else name
        union = f"union {{\n    int64_t alignment;\n    int8_t bytes[{share}];\n}}"
        macro, definition = in_region(region, spaces)
        declared += f"typedef {union} {variable}_memory;\nextern {variable}_memory {variable};\n\n"
        defined += f"{definition}{macro}{variable}_memory {variable};\n"
    guard = f"{name.upper()}_H"
    said = "/* The memory of models that never run at once: a run destroys inputs and outputs of the others. */\n"
    return {
        f"{name}.h": f"{head}#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n{said}{declared}#endif\n",
        f"{name}.c": f'{head}#include "{name}.h"\n\n{defined}',
    }
