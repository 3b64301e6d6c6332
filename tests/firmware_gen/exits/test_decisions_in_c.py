"""C decides on 8-bit logits as Python does, on all of them."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from multigraft.exits.policy import Exit, Promise, Rule
from multigraft.exits.sureness import as_threshold, make_decision, make_sureness
from multigraft.firmware_gen.exits.weaving import decision_of
from multigraft.firmware_gen.kernels.c_text import array as c_array
from multigraft.firmware_gen.project.emission import library
from multigraft.tensors.arrays import Array
from multigraft.tensors.specs import TensorSpec
from tests.firmware_gen.host import SANITIZERS, WARNINGS, gcc

PROMISE = Promise("selective", 0.01, 0.95, 1000, 1000, 500, 0)
RULES: tuple[Rule, ...] = ("probability", "margin", "entropy")
SCALES = (0.004, 0.11, 0.3, 2.0, 40.0)
ROWS = 150
MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <string.h>
typedef struct {{
    uint32_t reached, taken, audited, disagreed;
    uint8_t is_open, is_in_doubt;
}} mg_exit_state;
#include "mg_exit.h"
{tables}
static int is_sure(uint32_t number, const int8_t *logits)
{{
    switch (number) {{
{cases}
    }}
    return -1;
}}
int main(void)
{{
    uint32_t head[2];
    static int8_t logits[4096];
    while (fread(head, sizeof head, 1, stdin) == 1) {{
        if (fread(logits, 1, head[1], stdin) != head[1])
            return 2;
        putchar('0' + is_sure(head[0], logits));
    }}
    return 0;
}}
"""


def decided(folder: Path, flags: Sequence[str], decisions: Sequence[tuple[str, bytes]], data: list[bytes]) -> str:
    """What C decides, a digit for each number of a decision with its logits; decisions are C and its tables."""
    tables = "".join(c_array(f"tables_{k}", table) for k, (_, table) in enumerate(decisions))
    calls = [call.format(logits="logits", tables=f"tables_{k}") for k, (call, _) in enumerate(decisions)]
    cases = "\n".join(f"    case {number}: return {call};" for number, call in enumerate(calls))
    (folder / "mg_common.h").write_text(library("common.h"))
    (folder / "mg_exit.h").write_text(library("exit.h"))
    (folder / "main.c").write_text(MAIN.format(tables=tables, cases=cases))
    program = gcc(folder, folder / "program", *WARNINGS, *flags, "main.c")
    done = subprocess.run([program], input=b"".join(data), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:2000]
    return done.stdout.decode()


def rows_of(classes: int, random: np.random.Generator) -> Array:
    """Logits of every kind: noise, ties, one far above, all but two at the bottom, extremes."""
    rows = random.integers(-128, 128, (ROWS, classes))
    rows[::5] = np.clip(random.normal(0, 6, (len(rows[::5]), classes)), -128, 127)
    rows[1::5] = np.clip(random.normal(-90, 4, (len(rows[1::5]), classes)), -128, 127)
    for row in rows[1::5]:
        row[random.integers(classes)] = random.integers(-100, 128)
    rows[2::5] = random.choice([-128, 127], rows[2::5].shape)
    rows[3::5] = -128
    for row in rows[3::5]:
        row[random.permutation(classes)[:2]] = random.integers(-128, 128, 2)
    return rows.astype(np.int8)


@pytest.mark.parametrize("flags", [("-O2",), tuple(SANITIZERS)], ids=["optimised", "sanitised"])
def test_c_decides_as_python_does(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Thresholds lie on surenesses that occur, where one unit in the last place would decide otherwise."""
    random = np.random.default_rng(3)
    decisions, data, wanted = [], [], []
    for number, (rule, scale, classes, dtype) in enumerate(
        itertools.product(RULES, SCALES, (2, 10, 100), ("int8", "uint8"))
    ):
        spec = TensorSpec("logits", (1, classes), dtype, scale, 3)
        rows, held = rows_of(classes, random).view(dtype), np.empty((1, classes), dtype)
        sureness = make_sureness(spec, held, rule, 0.9)
        held[0] = rows[random.integers(ROWS)]
        policy = Exit("exit_a", "logits", rule, 0.9, as_threshold(sureness(), rule), PROMISE)
        decisions.append(decision_of(policy, spec))
        decide = make_decision(policy, spec, held)
        for row in rows:
            held[0] = row
            data.append(np.array([number, classes], np.uint32).tobytes() + row.tobytes())
            wanted.append("01"[decide()])
    assert decided(tmp_path, flags, decisions, data) == "".join(wanted)
    assert 0.1 < wanted.count("1") / len(wanted) < 0.9


def test_every_pair_of_logits(tmp_path: Path) -> None:
    """Two classes: all 65,536 values there are, at thresholds between which they change sides."""
    decisions, data, wanted = [], [], []
    pairs = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), axis=-1).reshape(-1, 2).astype(np.int8)
    spec, held = TensorSpec("logits", (1, 2), "int8", 0.05, 3), np.empty((1, 2), np.int8)
    for number, (rule, distance) in enumerate(itertools.product(RULES, (0, 40, 120))):
        held[0] = (distance - 100, -100)
        policy = Exit(
            "exit_a", "logits", rule, 1.0, as_threshold(make_sureness(spec, held, rule, 1.0)(), rule), PROMISE
        )
        decisions.append(decision_of(policy, spec))
        decide = make_decision(policy, spec, held)
        known = {}
        for far in range(256):
            held[0] = (far - 128, -128)
            known[far] = decide()
            assert known[far] is (far >= distance)
        head = np.array([number, 2], np.uint32).tobytes()
        data += [head + pair.tobytes() for pair in pairs]
        wanted += ["01"[known[abs(int(a) - int(b))]] for a, b in pairs]
    assert decided(tmp_path, ["-O2"], decisions, data) == "".join(wanted)
