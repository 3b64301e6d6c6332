"""Steps of a program with early exits: behind the logits of an exit one that decides, at the end one that settles.

A step that only tasks need which have left is not run, so every step behind the first decision has a condition. For the
arena's planner all of them run one after the other: what a frame leaves out is memory that is not used.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from multigraft.exits.policy import Exit
from multigraft.exits.sureness import as_threshold, step_of
from multigraft.exits.whole_numbers import bounds_of, most_entropy, tables_of
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.program.program import EarlyExit, Node, Program, Step
from multigraft.tensors.specs import TensorSpec
from multigraft.tflite.graph import Op, Tensor

DECIDES = "EXIT"
SETTLES = "SETTLE"


def weave_exits(program: Program, steps: Sequence[LoweredStep]) -> list[LoweredStep]:
    """The steps with those that decide and settle between them, each with its condition.

    Args:
        program: What was lowered.
        steps: Its steps, views among them.
    """
    if not program.exits:
        return list(steps)
    last = {e.logits: max(i for i, s in enumerate(steps) if e.logits in s.writes) for e in program.exits}
    woven: list[LoweredStep] = []
    decided = False
    for index, step in enumerate(steps):
        if step.step.exit >= 0:
            woven.append(replace(step, condition=_is_early(step.step.exit)))
        else:
            woven.append(replace(step, condition=f"exits.open & {step.step.tasks:#x}u") if decided else step)
        for number, found in enumerate(program.exits):
            if last[found.logits] == index:
                logits = program.tensors[found.logits]
                woven.append(_made(DECIDES, 1 << found.task, (logits,), (), _decide(found, number), _is_early(number)))
                decided = True
    return [*woven, _settled(program)]


def _is_early(number: int) -> str:
    return f"exits.early & {1 << number:#x}u"


def _made(
    label: str, mask: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor], kernel: Kernel, condition: str
) -> LoweredStep:
    reads, writes = tuple(t.name for t in inputs), tuple(t.name for t in outputs)
    node = Node(Op("CUSTOM", reads, writes, custom_code=label), tuple(inputs), tuple(outputs))
    return LoweredStep(Step(node, mask), kernel, reads, writes, condition=condition)


def _decide(found: EarlyExit, number: int) -> Kernel:
    arguments, tables = decision_of(found.policy, found.spec)

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"mg_exit_passed(&exits, {number}, {arguments.format(logits=ins[0], tables=constants)});"

    return Kernel(call, ("exit.h",), constant=tables)


def decision_of(policy: Exit, spec: TensorSpec) -> tuple[str, bytes]:
    """C that is not 0 where the exit is taken, with ``{logits}`` and ``{tables}``, and the tables."""
    classes = prod(spec.shape)
    tables = tables_of(step_of(spec, policy.temperature), classes, policy.rule)
    least = as_threshold(policy.threshold, policy.rule)
    distances = len(tables.shares)
    logits = f"{{logits}}, {classes}, {_flip(spec.dtype)}, {{tables}}, {distances}"
    if policy.rule == "entropy":
        words = (*tables.shares, *tables.weighted, *tables.logs)
        most = most_entropy(tables, least)
        return f"mg_exit_entropy({logits}, {tables.bits}, INT64_C({most}))", _words(words)
    bounds = bounds_of(policy.rule, tables, least)
    return f"mg_exit_bounded({logits}, {len(bounds)})", _words((*tables.shares, *bounds))


def _words(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _flip(dtype: str) -> str:
    """What makes bytes of a type sort as unsigned ones."""
    return "0x80" if dtype == "int8" else "0"


def _settled(program: Program) -> LoweredStep:
    """Tells which exits answered and whether those that were audited agree, and clears what was not filled."""
    tensors: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for found in program.exits:
        tensors |= {name: program.tensors[name] for name in (found.whole, found.logits)}
        outputs[found.said] = program.tensors[found.said]
    mask = 0
    for found in program.exits:
        mask |= 1 << found.task
    reads, writes = list(tensors), list(outputs)

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        at = dict(zip(reads, ins, strict=True)) | dict(zip(writes, outs, strict=True))
        lines = [line for k, found in enumerate(program.exits) for line in _looks(program, found, k, at)]
        lines.append("mg_exits_end(&exits, task_mask);")
        places = tasks_with_exits(program)
        for task, place in places.items():
            found = next(e for e in program.exits if e.task == task)
            size = program.tensors[found.whole].stored_bytes
            users = sum(1 << n for n, t in enumerate(program.tasks) if found.whole in t.outputs)
            lines += [
                f"if (task_mask & {1 << task:#x}u) {{",
                f"    memcpy({at[found.said]}, &exit_tasks[{place}].left, 4);",
                f"    if ((exits.open & {users:#x}u) == 0)",
                f"        memset({at[found.whole]}, 0, {size});",
                "}",
            ]
        return "\n".join(lines)

    return _made(
        SETTLES,
        mask,
        tuple(tensors.values()),
        tuple(outputs.values()),
        Kernel(call, ("exit.h",)),
        f"task_mask & {mask:#x}u",
    )


def _looks(program: Program, found: EarlyExit, number: int, at: Mapping[str, str]) -> list[str]:
    logits, whole = program.tensors[found.logits], program.tensors[found.whole]
    bit = f"{1 << number:#x}u"
    return [
        f"if ((task_mask & {1 << found.task:#x}u) && !(exits.computed & {bit}))",
        f"    memset({at[found.logits]}, 0, {logits.stored_bytes});",
        f"else if (task_mask & {1 << found.task:#x}u)",
        f"    mg_exit_audited(&exits, {number}, {_class(logits, at)} == {_class(whole, at)});",
    ]


def _class(tensor: Tensor, at: Mapping[str, str]) -> str:
    count = prod(tensor.shape)
    if tensor.dtype == "float32":
        return f"mg_exit_class32({at[tensor.name]}, {count})"
    return f"mg_exit_class8({at[tensor.name]}, {count}, {_flip(tensor.dtype)})"


def tasks_with_exits(program: Program) -> dict[int, int]:
    """Number of each task that has exits, to its place among them."""
    return {task: place for place, task in enumerate(sorted({e.task for e in program.exits}))}
