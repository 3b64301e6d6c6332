"""Generated C lets those frames leave that Engine lets leave, audits the same, and closes exits behind the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.exits.policy import PromiseKind, Rule
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.inspection.reference import golden_vectors
from multigraft.firmware_gen.program.program import load
from multigraft.firmware_gen.project.project import Project
from multigraft.runtime.answers import Classification
from tests.firmware_gen.cascades.people import reference_engine
from tests.firmware_gen.exits.board import counts
from tests.firmware_gen.exits.bundles import Picture, build, frames, stored
from tests.firmware_gen.host import SANITIZERS, compile_host, evaluate, run_host

TELLING = r"""
#include <stdio.h>
#include "model.h"
static uint32_t steps;
void model_profile(uint32_t step) { steps += step < MODEL_STEP_COUNT; }
int main(void)
{
    uint32_t mask;
    while (fread(&mask, sizeof mask, 1, stdin) == 1) {
        if (fread(model_inputs[0].data, 1, model_inputs[0].bytes, stdin) != model_inputs[0].bytes)
            return 2;
        steps = 0;
        if (model_run(mask) != 0)
            return 3;
        printf("%u", steps);
        for (int k = 0; k < MODEL_EXIT_COUNT; k++) {
            const mg_exit_state *e = &model_exits[k];
            printf(" %u %u %u %u %u %u", e->reached, e->taken, e->audited, e->disagreed, e->is_open, e->is_in_doubt);
        }
        printf("\n");
    }
    return 0;
}
"""
OUTPUTS = {"garment": ("garment/out", "early1/out", "early2/out"), "digit": ("digit/out", "early3/out")}
NAMES = {"garment": ("exit_garment_1", "exit_garment_2"), "digit": ("exit_digit",)}


def assert_answers(bundle: Bundle, project: Project, folder: Path, some: list[Picture]) -> set[tuple[int, int]]:
    """That C answers as Engine and as numpy do; the ways that frames took."""
    said = run_host(compile_host(project, folder), project, [stored(bundle, some)])
    for name, array in evaluate(load(bundle), [stored(bundle, some)]).items():
        np.testing.assert_array_equal(said[name], array, err_msg=name)
    engine, ways = reference_engine(bundle), set()
    for case, frame in enumerate(some):
        result = engine.run(frame)
        left = {task: int(said[f"{task}/exit"][case, 0]) for task in NAMES}
        assert result.exits == {task: NAMES[task][number - 1] for task, number in left.items() if number}
        for task, outputs in OUTPUTS.items():
            answer = result.answers[task]
            assert isinstance(answer, Classification)
            assert answer.index == int(said[outputs[left[task]]][case].argmax())
        ways.add((left["garment"], left["digit"]))
    return ways


RULES: list[tuple[Rule, Rule, Rule]] = [
    ("probability", "margin", "entropy"),
    ("entropy", "probability", "margin"),
]


@pytest.mark.parametrize("rules", RULES, ids=["-".join(r) for r in RULES])
def test_c_answers_as_the_engine_does(rules: tuple[Rule, Rule, Rule], tmp_path: Path) -> None:
    bundle = build(rules)
    ways = assert_answers(bundle, generate(bundle, core=M3), tmp_path, frames(150))
    assert ways == {(a, b) for a in (0, 1, 2) for b in (0, 1)}


@pytest.mark.parametrize("kind", ["selective", "marginal"])
@pytest.mark.parametrize("allowed", [0.01, 0.5, 0.97])
def test_audits_are_those_of_the_engine(kind: PromiseKind, allowed: float, tmp_path: Path) -> None:
    """Frame by frame: what was counted, what is in doubt, and behind which frame an exit closed."""
    bundle = build(audited=0.2, kind=kind, max_disagreement=allowed)
    project, some, engine = generate(bundle, core=M3), frames(300), reference_engine(bundle)
    program = compile_host(project, tmp_path, *SANITIZERS, "-DMODEL_PROFILE", main=TELLING)
    # Some frames are asked of one task alone.
    masks = [(3, 1, 3, 2)[n % 4] for n in range(len(some))]
    data = b"".join(m.to_bytes(4, "little") + row.tobytes() for m, row in zip(masks, stored(bundle, some), strict=True))
    done = subprocess.run([program], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:2000]
    lines = [list(map(int, line.split())) for line in done.stdout.decode().splitlines()]
    for mask, frame, (_, *told) in zip(masks, some, lines, strict=True):
        engine.run(frame, [task for bit, task in enumerate(NAMES) if mask >> bit & 1])
        assert told == counts(engine)
    is_open = [gate.is_open for gate in engine.gates.values()]
    # Of all frames most did not take an exit, which counts as agreement.
    assert is_open == [allowed > (0.1 if kind == "marginal" else 0.9)] * 3
    assert min(gate.audit.audited for gate in engine.gates.values()) >= (2 if allowed < 0.1 else 8)
    # A closed exit is not computed any more, and all that lies behind it is.
    own = [s for s in project.steps if s.operator == "EXIT" or "early" in s.output]
    assert masks[-2] == 3
    assert len(own) == 9
    assert lines[-2][0] == len(project.steps) - 9 or any(is_open)


def test_an_early_answer_leaves_out_what_it_does_not_need(tmp_path: Path) -> None:
    """Steps that ran, by the exits that answered: where both tasks have left, nothing behind runs."""
    bundle = build()
    project, some = generate(bundle, core=M3), frames(80)
    said = run_host(compile_host(project, tmp_path), project, [stored(bundle, some)])
    program = compile_host(project, tmp_path, "-O1", "-DMODEL_PROFILE", main=TELLING)
    data = b"".join((3).to_bytes(4, "little") + row.tobytes() for row in stored(bundle, some))
    lines = subprocess.run([program], input=data, capture_output=True, check=True).stdout.decode().splitlines()
    ran: dict[tuple[int, int], set[int]] = {}
    for case, line in enumerate(lines):
        way = int(said["garment/exit"][case, 0]), int(said["digit/exit"][case, 0])
        ran.setdefault(way, set()).add(int(line.split()[0]))
    assert all(len(counted) == 1 for counted in ran.values())
    (whole,), (both,), (digit,) = ran[0, 0], ran[1, 1], ran[0, 1]
    operators = [step.operator for step in project.steps]
    assert whole == len(operators) and operators.count("EXIT") == 3 and operators[-1] == "SETTLE"
    heads = [[s for s in project.steps if s.output.startswith(f"head_{t}/") or s.output == f"{t}/out"] for t in NAMES]
    assert whole - digit == len(heads[1])
    assert both < digit


def test_golden_vectors_go_every_way_that_inputs_take() -> None:
    bundle = build()
    _, outputs = golden_vectors(load(bundle), given={"image": stored(bundle, frames(12))})
    assert len(outputs["garment/exit"]) == 8
    assert {int(k) for k in outputs["garment/exit"].flat} == {0, 1, 2}
    assert {int(k) for k in outputs["digit/exit"].flat} == {0, 1}


def test_bundles_without_their_exits(tmp_path: Path) -> None:
    """As asked, and as firmware does where tasks look at boxes: what was generated before exits were known."""
    bundle = build()
    project = generate(bundle, core=M3, exits=False)
    assert [o.name for o in project.outputs] == ["garment/out", "digit/out"]
    assert "exit" not in project.files["model.c"] and "mg_exit.h" not in project.files
    rows = stored(bundle, frames(5))
    said, whole = run_host(compile_host(project, tmp_path), project, [rows]), reference_engine(bundle)
    for case, row in enumerate(rows):
        answers = whole.compute({"image": row}, ["garment", "digit"])
        for name, array in said.items():
            np.testing.assert_array_equal(array[case], answers[name])
