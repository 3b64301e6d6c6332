"""The layer that a board solves anew, as C: its kernel, what ``model.h`` says of it, what ``model.c`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import exact_rows
from multigraft.firmware_gen.kernels.c_text import array
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.learning.learnt_layer import MOST_FRAMES, Learner, triangle

SOLVING = "solving"
"""The buffer in which the layer is solved, when no tensor is in use."""


def with_learner(steps: Sequence[LoweredStep], learner: Learner | None) -> list[LoweredStep]:
    """The steps with the learner's layer read from RAM."""
    if learner is None:
        return list(steps)

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"mg_learn_run(&learner, {ins[0]}, {outs[0]});"

    return [
        replace(s, kernel=Kernel(call, ("dot.h", "learn.h"), macs=s.kernel.macs))
        if learner.output in s.writes and s.step.node.name == "FULLY_CONNECTED"
        else s
        for s in steps
    ]


def learning_notes(learner: Learner | None, task: str) -> tuple[str, ...]:
    """Lines for ``model.h``; ``task`` is the name of the one that learns, as C shows it."""
    if learner is None:
        return ()
    return (
        "",
        f"/* {task} learns: its last layer is solved anew from sums over frames whose class you say.",
        "   Sums and layer lie in RAM, and are gone when the power is. */",
        f"#define MODEL_LEARN_TASK {learner.task}",
        f"#define MODEL_LEARN_CLASSES {learner.classes}",
        f"#define MODEL_LEARN_FEATURES {learner.features}",
        f"#define MODEL_LEARN_MOST_FRAMES {MOST_FRAMES}",
        f"#define MODEL_LEARN_SUMS_BYTES {learner.sums_bytes}u",
        f"#define MODEL_LEARN_LAYER_BYTES {learner.layer_bytes}u",
        "#define MODEL_LEARN_KEEP 0xffffu",
        "/* Of the layer as generated and what it knows: sums belong to firmware of the same. */",
        f"#define MODEL_LEARN_IDENTITY 0x{learner.identity:08x}u",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "/* Adds the last frame that the task answered to the sums, once: of this class, or MODEL_LEARN_KEEP for one",
        "   that was known before and is to be answered as before. 0; -1: no such class; -2: no frame that was not",
        "   learnt; -3: no more frames. */",
        "int model_learn(uint32_t label);",
        "/* Solves the layer: the next run answers with it, and outputs of the last one are gone. 0; -1: nothing was",
        "   learnt, and the layer is as it was generated. Takes some hundred instructions for each of",
        f"   {_operations(learner)} operations on doubles. */",
        "int model_solve(void);",
        "/* Forgets all that was learnt. */",
        "void model_unlearn(void);",
        "/* 1 where the layer that answers was solved; 0 where it is as it was generated. */",
        "int model_learn_solved(void);",
        "/* Frames of a class in the sums; with MODEL_LEARN_KEEP, of all, whatever was said of them. */",
        "uint32_t model_learnt_frames(uint32_t label);",
        "/* To keep the sums elsewhere and put them back, which the next model_solve solves from: aligned to 8. */",
        "uint8_t *model_learnt_sums(void);",
        "/* Of each class bias, multiplier and shift, int32_t each, then rows of weights. */",
        "const uint8_t *model_learnt_layer(void);",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    )


def _operations(learner: Learner) -> int:
    n = learner.features + 1
    return (n**3 - n) // 3 + 2 * learner.classes * n * n


def learning_constants(learner: Learner | None) -> int:
    """Bytes of flash for the layer as it is generated, its targets, and sums over known frames."""
    if learner is None:
        return 0
    return learner.layer_bytes + 16 * learner.classes + learner.known_bytes


def learning_prologue(learner: Learner | None) -> tuple[str, ...]:
    """Statements at the beginning of ``model_run``."""
    return () if learner is None else ("    begin_learning();",)


def learning_definitions(learner: Learner | None, memory: str) -> str:
    """C for ``model.c`` in front of ``model_run``; ``memory`` is where it is solved. Empty without a learner."""
    if learner is None:
        return ""
    layer, n = learner.layer, learner.features + 1
    known = "" if learner.known is None else array("learn_known", learner.known.products.astype("<i4").tobytes())
    place = "NULL" if learner.known is None else "(const int32_t *)learn_known"
    frames = 0 if learner.known is None else learner.known.frames
    reals = ", ".join(float(real).hex() for real in learner.reals)
    sizes = f"{learner.classes}, {learner.before}, {learner.features}, {layer.input_zero_point}"
    scaling = f"{layer.rescalings[0].zero_point}, {layer.low}, {layer.high}, {MOST_FRAMES}"
    return f"""{array("learn_weights", layer.weights.astype(np.int8).tobytes())}
{array("learn_scales", exact_rows(layer).tobytes())}
{array("learn_targets", learner.targets.astype("<i4").tobytes())}
{known}static const double learn_reals[] = {{{reals}}};
static struct {{
    int64_t residues[{learner.classes * n}];
    int32_t products[{triangle(n)}];
    int32_t counts[{learner.classes}];
}} learnt_sums;
static struct {{
    mg_exact scales[{learner.classes}];
    int8_t weights[{learner.classes * learner.features}];
}} learnt_layer;
static int8_t learn_seen[{learner.features}];
static mg_learner learner = {{
    {sizes}, {scaling}, (const int8_t *)learn_weights, (const mg_exact *)learn_scales,
    (const int32_t *)learn_targets, learn_reals, {place}, {frames}, learnt_sums.residues, learnt_sums.products,
    learnt_sums.counts, learnt_layer.weights, learnt_layer.scales, learn_seen, 0, 0,
}};
static int learning_begun;

void model_unlearn(void)
{{
    mg_learn_begin(&learner);
    learning_begun = 1;
}}

static void begin_learning(void)
{{
    if (!learning_begun)
        model_unlearn();
}}

int model_learn_solved(void)
{{
    return learner.is_solved;
}}

int model_learn(uint32_t label)
{{
    begin_learning();
    return mg_learn_add(&learner, label);
}}

int model_solve(void)
{{
    begin_learning();
    return mg_learn_solve(&learner, {memory});
}}

uint32_t model_learnt_frames(uint32_t label)
{{
    return label < {learner.classes}u ? (uint32_t)learnt_sums.counts[label] : mg_learn_frames(&learner);
}}

uint8_t *model_learnt_sums(void)
{{
    begin_learning();
    return (uint8_t *)&learnt_sums;
}}

const uint8_t *model_learnt_layer(void)
{{
    begin_learning();
    return (const uint8_t *)&learnt_layer;
}}

"""
