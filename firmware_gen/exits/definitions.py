"""What ``model.h`` and ``model.c`` say of early exits beside the steps: their counts, their policies, the audit."""

from __future__ import annotations

import math

from multigraft.exits.audit import DOUBT, PERIODS, RISK, Audit
from multigraft.firmware_gen.exits.weaving import tasks_with_exits
from multigraft.firmware_gen.kernels.c_text import string
from multigraft.firmware_gen.program.program import EarlyExit, Program


def exit_notes(program: Program) -> tuple[str, ...]:
    """Lines for ``model.h``."""
    if not program.exits:
        return ()
    places = {t.name: k for k, t in enumerate(program.outputs)}
    told = []
    for found in program.exits:
        where = f"model_outputs[{places[found.logits]}]"
        told.append(f"   {found.number} in model_outputs[{places[found.said]}]: the answer is {where}, else ")
        told[-1] += f"model_outputs[{places[found.whole]}] if 0."
    return (
        "",
        "/* Early exits. TASK/exit, int32_t, tells by which of its exits a task answered, from 1 on, or 0: the whole",
        "   network did. Each answers in outputs of its own; what is not filled is 0:",
        *told,
        "   A share of the frames that exit runs to the end as well, and an exit that breaks its promise is closed. */",
        f"#define MODEL_EXIT_COUNT {len(program.exits)}",
        "#ifndef MG_EXIT_STATE",
        "#define MG_EXIT_STATE",
        "typedef struct {",
        "    const char *name, *task;",
        "    uint32_t reached;      /* frames for which it was computed */",
        "    uint32_t taken;        /* those that were sure enough, audited or not */",
        "    uint32_t audited;      /* frames that also ran to the end */",
        "    uint32_t disagreed;    /* those that the whole network answers otherwise */",
        "    uint8_t is_open;       /* 0 once its promise was refuted: the whole network answers */",
        "    uint8_t is_in_doubt;   /* all frames that take it are audited */",
        "} mg_exit_state;",
        "#endif",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "extern mg_exit_state model_exits[MODEL_EXIT_COUNT];",
        "/* Counts and audits begin anew, and exits are open. The seed draws the frames that are audited; it is 0",
        "   until you say otherwise. */",
        "void model_exits_reset(uint32_t seed);",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    )


def exit_definitions(program: Program) -> str:
    """C for ``model.c`` in front of ``model_run``; empty without exits."""
    if not program.exits:
        return ""
    count, places = len(program.exits), tasks_with_exits(program)
    names = ", ".join(
        f"{{{string(e.policy.segment)}, {string(program.tasks[e.task].name)}, 0, 0, 0, 0, 1, 0}}" for e in program.exits
    )
    policies = "".join(f"    {_policy(program, e, places[e.task])},\n" for e in program.exits)
    periods = ", ".join(map(str, PERIODS))
    return f"""mg_exit_state model_exits[{count}] = {{{names}}};
static const mg_exit_policy exit_policies[] = {{
{policies}}};
static const uint32_t exit_periods[] = {{{periods}}};
static double exit_capitals[{count}][MG_GAMBLERS], exit_renewed[{count}][MG_GAMBLERS];
static mg_exit_task exit_tasks[{len(places)}];
static int exits_begun;
static mg_exits exits = {{
    model_exits, exit_policies, exit_capitals, exit_renewed, exit_tasks, exit_periods, {DOUBT.hex()},
    {(1 / RISK).hex()}, {count}, {len(places)}, 0, 0, 0, 0,
}};

void model_exits_reset(uint32_t seed)
{{
    mg_exits_reset(&exits, seed);
    exits_begun = 1;
}}

"""


def exit_prologue(program: Program) -> tuple[str, ...]:
    """Statements at the beginning of ``model_run``."""
    if not program.exits:
        return ()
    return (
        "    if (!exits_begun)",
        "        model_exits_reset(0);",
        "    mg_exits_begin(&exits, task_mask);",
    )


def _policy(program: Program, found: EarlyExit, place: int) -> str:
    others = sum(1 << k for k, e in enumerate(program.exits) if e.task == found.task)
    promise, share = found.policy.promise, found.policy.audited
    gains = Audit(promise.max_disagreement).gains
    lost, won = (", ".join(pair[k].hex() for pair in gains) for k in (0, 1))
    head = f"{1 << found.task:#x}u, {others:#x}u, {place}, {found.number}, {int(promise.kind == 'marginal')}"
    return f"{{{head}, {_below(share)}, {{{{{lost}}}, {{{won}}}}}}}"


def _below(share: float) -> str:
    """Draws of 32 bits that are below a share."""
    return f"UINT64_C({math.ceil(min(1.0, share) * (1 << 32))})"
