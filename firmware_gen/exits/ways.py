"""What early exits of a program take and leave out."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.exits.weaving import DECIDES, tasks_with_exits
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.program.program import Program
from multigraft.firmware_gen.project.project import ProjectExit

_EXIT_BYTES = 28 + 10 * 8
_TASK_BYTES = 16
_ALL_BYTES = 84
"""On a core of 32 bits: counts and capitals of each exit, what a frame's way is of each task, and the rest."""


def exit_ram_bytes(program: Program) -> int:
    """RAM of counts and audits; 0 without exits."""
    if not program.exits:
        return 0
    return _EXIT_BYTES * len(program.exits) + _TASK_BYTES * len(tasks_with_exits(program)) + _ALL_BYTES


def project_exits(program: Program, steps: Sequence[LoweredStep]) -> tuple[ProjectExit, ...]:
    """The exits as the project knows them, with what a frame costs that leaves there."""
    names = [t.name for t in program.outputs]
    found = []
    for one in program.exits:
        decides = next(
            i for i, s in enumerate(steps) if s.step.node.name == DECIDES and one.logits in s.step.node.op.inputs
        )
        ran = [s for i, s in enumerate(steps) if i <= decides or s.step.tasks & ~(1 << one.task)]
        found.append(
            ProjectExit(
                one.policy.segment,
                one.task,
                one.number,
                names.index(one.logits),
                names.index(one.said),
                names.index(one.whole),
                one.policy.promise.rate,
                sum(s.kernel.macs for s in ran),
            )
        )
    return tuple(found)
