"""Models with prefixes of their own, as the serial applications see them: one ``model.h`` over all.

The applications write inputs and read outputs when they like, and the models take turns in one arena. So a model's
inputs are put there when it runs, and its outputs are taken out behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.project.project import Part

_ALIGNMENT = 8


def parts_header(parts: Sequence[Part]) -> str:
    """``target/model.h``."""
    tasks = sum(p.tasks for p in parts)
    deadlines = "\n    || ".join(f"defined({p.prefix.upper()}_HAS_DEADLINES)" for p in parts)
    variables = "\n    || ".join(f"defined({p.prefix.upper()}_VARIABLE_BYTES)" for p in parts)
    includes = "\n".join(f'#include "{p.prefix}.h"' for p in parts)
    return f"""/* The models of this image as one, for the serial applications. Programs of yours include theirs. */
#ifndef MODEL_H
#define MODEL_H

{includes}

#define MODEL_TASK_COUNT {tasks}
#define MODEL_ALL_TASKS {(1 << tasks) - 1:#x}u
#define MODEL_STEP_COUNT {sum(p.steps for p in parts)}
#define MODEL_READS_STAGED 1 /* app_staged is what model_run reads. */
#if {deadlines}
#define MODEL_HAS_DEADLINES 1
uint32_t model_microseconds(void);
#endif
#if {variables}
#define MODEL_VARIABLE_BYTES 1 /* At least. */
void model_reset(void);
#endif

typedef struct {{
    const void *data;
}} model_answer;
extern const model_answer model_outputs[{sum(p.outputs for p in parts)}];

int model_run(uint32_t task_mask);
void model_profile(uint32_t step);

#endif
"""


def parts_source(parts: Sequence[Part], input_bytes: Sequence[int], output_bytes: Sequence[int]) -> list[str]:
    """What ``app_model.c`` has in addition for models with prefixes; nothing where there are none.

    Args:
        parts: The models.
        input_bytes: Of every input, those of the first model first.
        output_bytes: Of every output.
    """
    if not parts:
        return []
    starts, size = [], 0
    for count in output_bytes:
        starts.append(size)
        size += -(-count // _ALIGNMENT) * _ALIGNMENT
    places = [f"    {{answers.bytes + {start}}}," for start in starts]
    lines = [
        "",
        "#include <string.h>",
        "",
        f"static union {{\n    int64_t alignment;\n    uint8_t bytes[{max(size, 1)}];\n}} answers;",
        f"const model_answer model_outputs[{len(starts)}] = {{",
        *places,
        "};",
        "",
        "int model_run(uint32_t task_mask) {",
        "    if (task_mask == 0 || (task_mask & ~MODEL_ALL_TASKS) != 0) {",
        "        return -1;",
        "    }",
    ]
    task = first_in = first_out = 0
    for p in parts:
        mask = ((1 << p.tasks) - 1) << task
        lines.append(f"    if ((task_mask & {mask:#x}u) != 0) {{")
        offset = sum(input_bytes[:first_in])
        for k in range(p.inputs):
            count = input_bytes[first_in + k]
            lines.append(f"        memcpy({p.prefix}_inputs[{k}].data, app_staged + {offset}, {count}u);")
            offset += count
        lines += [f"        if ({p.prefix}_run((task_mask & {mask:#x}u) >> {task}) != 0) {{", "            return -1;"]
        lines.append("        }")
        for k in range(p.outputs):
            to = f"answers.bytes + {starts[first_out + k]}"
            lines.append(f"        memcpy({to}, {p.prefix}_outputs[{k}].data, {output_bytes[first_out + k]}u);")
        lines.append("    }")
        task, first_in, first_out = task + p.tasks, first_in + p.inputs, first_out + p.outputs
    lines += ["    return 0;", "}", *_hooks(parts)]
    return lines


def _hooks(parts: Sequence[Part]) -> list[str]:
    """What the applications ask of all models, and what models ask of the applications."""
    lines = ["", "#if defined(MODEL_VARIABLE_BYTES)", "void model_reset(void) {"]
    for p in parts:
        lines += [f"#if defined({p.prefix.upper()}_VARIABLE_BYTES)", f"    {p.prefix}_reset();", "#endif"]
    lines += ["}", "#endif", "", "#if defined(MODEL_PROFILE)"]
    first = 0
    for p in parts:
        lines += [
            f"void {p.prefix}_profile(uint32_t step) {{",
            f"    model_profile(step < {p.steps}u ? {first}u + step : MODEL_STEP_COUNT);",
            "}",
        ]
        first += p.steps
    lines.append("#endif")
    for p in parts:
        lines += [
            "",
            f"#if defined({p.prefix.upper()}_HAS_DEADLINES)",
            f"uint32_t {p.prefix}_microseconds(void) {{",
            "    return model_microseconds();",
            "}",
            "#endif",
        ]
    return lines
