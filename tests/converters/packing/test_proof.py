"""What is promised of the best of many candidates holds as often as it says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.kind import Kind
from multigraft.converters.graft.candidate import Candidate, judge, make_tail
from multigraft.converters.graft.evidence import Evidence, note_on_proof, split
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, SharingPlan
from multigraft.converters.packing.proof import proved, shortfall
from multigraft.converters.planning.planner import cost_of_plans, pick
from tests.converters.graft.networks import frames, perturbed, residual_network
from tests.converters.graft.test_evidence import loaded

RUNS, CANDIDATES, BUDGET, TRUTH = 200, 40, 0.9, 0.895
PARENT = residual_network("first", 0)
CHILD = perturbed(PARENT, "relative", 0.05)


def raw_graft(evidence: Evidence) -> Candidate:
    donor_point, target_point = PARENT.cut_points[-1], CHILD.cut_points[-1]
    join = Join("first", "relative", donor_point, target_point, "raw", "relative")
    tail, _, _ = make_tail(join, PARENT, CHILD, ())
    return judge(join, tail, PARENT, CHILD, evidence, 0.95, None)


def measured(correct: npt.NDArray[np.bool_], confidence: float) -> Agreement:
    """The agreement of answers that equal the original's where ``correct`` says so."""
    original = np.tile(np.array([1.0, 0.0], np.float32), (len(correct), 1))
    new = np.where(correct[:, None], original, original[:, ::-1])
    return agreement("classification", [original], [new], confidence=confidence)


@pytest.mark.parametrize("count", [110, 400, 2000])
def test_the_promise_holds_in_19_of_20_builds_with_40_candidates_just_under_the_budget(
    tmp_path: Path, count: int
) -> None:
    """One that fails the proof is reported as missing the budget, so only a passing one promises anything."""
    settings = loaded(tmp_path)
    settings = dataclasses.replace(settings, budget=dataclasses.replace(settings.budget, min_agreement=BUDGET))
    numbered = [np.full((1, 1), i) for i in range(count)]
    evidence = split(numbered, settings, "frames.npy")
    chooses, proves = ([int(f[0, 0]) for f in part] for part in (evidence.accept, evidence.proof.accept))
    assert not set(chooses) & set(proves)
    graft = raw_graft(Evidence(frames(16, seed=1), frames(16, seed=2)))
    limits = Limits(BUDGET)
    cost = cost_of_plans(limits, lambda plan: 0.0)
    rng = np.random.default_rng(count)
    false_promises = chosen = 0
    for _ in range(RUNS):
        correct = rng.random((CANDIDATES, count)) < TRUTH
        plans = []
        for number, one in enumerate(correct):
            shown = measured(one[chooses], min(0.95, evidence.most_confidence))
            candidate = dataclasses.replace(graft, agreement=shown, own_weights=number)
            plans.append(SharingPlan({}, 10**6, 1).with_graft(CHILD, candidate))
        plan = pick(plans, limits, cost)
        if plan is None:
            continue
        chosen += 1
        best = correct[plan.grafts["relative"].own_weights]
        proof = measured(best[proves], 0.95)
        false_promises += proof.lower_bound >= BUDGET
    assert chosen > 0.2 * RUNS, "the best of 40 looks good where it was chosen"
    assert false_promises <= 0.05 * RUNS


def test_a_graft_is_promised_by_the_frames_that_no_choice_has_looked_at() -> None:
    """Frames on which the graft agrees choose, others on which it never does prove."""
    many = frames(600, seed=3)
    graft = raw_graft(Evidence(many[:1], many))
    alike = CHILD.run(CHILD.prepare(many))[CHILD.outputs[0]].argmax(1)
    features = PARENT.run(PARENT.prepare(many), [graft.tail.source])[graft.tail.source]
    agrees = graft.tail.run(features)[0].argmax(1) == alike
    good, bad = ([f for f, a in zip(many, agrees, strict=True) if a is wanted] for wanted in (np.True_, np.False_))
    assert good and bad
    evidence = Evidence(many[:1], good, prove=bad)
    chosen = SharingPlan({}, 10**6, 10**6).with_graft(CHILD, raw_graft(evidence))
    assert chosen.agreement == 1
    shown = proved(chosen, (PARENT, CHILD), {"relative": evidence}, SearchOptions())
    assert shown.agreement == 0 and shown.lower_bound == 0
    assert shown.grafts["relative"].shown.frames == len(bad)
    said = shortfall(shown, Limits(0.9))
    assert f"on {len(bad):,} frames that no choice has looked at, relative shows 0.0000" in said
    assert shortfall(shown, Limits(0.0, least_agreements={"relative": 0.9})) == said
    assert not shortfall(chosen, Limits(0.5))


def held_out(count: int) -> Evidence:
    numbers = list(np.zeros((200, 1, 1), np.uint8))
    return Evidence(numbers[:20], numbers[:10], prove=numbers[:count])


def test_what_the_frames_can_prove_is_said_beforehand() -> None:
    for graded in (False, True):
        assert note_on_proof(held_out(99), 0.97, 0.95, graded) == (
            "20 frames fit, 10 choose, and 99 that no choice looks at prove: 100.0 % of these have to agree to show "
            "0.97 at 95 %"
        )
    assert "and less where no frame differs wholly" in note_on_proof(held_out(99), 0.9, 0.95, True)


LABELS = np.eye(4, dtype=np.float32)
KINDS_OF_ANSWERS: dict[str, tuple[Kind, list[npt.NDArray[Any]], AnswerFormat | None]] = {
    "classification": ("classification", [LABELS[:1]], None),
    "regression": ("regression", [LABELS[:1]], None),
    "landmarks": ("landmarks", [LABELS[:1]], None),
    "segmentation": ("segmentation", [LABELS[:2].reshape(1, 2, 2, 2)], None),
    "boxes": ("detection", [np.array([[[0.1, 0.1, 0.5, 0.5]]], np.float32), np.full((1, 1), 0.9, np.float32)], None),
    "numbers of a detector": ("detection", [LABELS[:1]], None),
    "other": ("other", [LABELS[:1]], None),
    "text": ("other", [np.eye(5, 3, dtype=np.float32)[None]], AnswerFormat("ctc", ((5, 3),), (8, 32), {"classes": 0})),
    "embedding": ("other", [LABELS[:1]], AnswerFormat("embedding", ((4,),), (8, 8), {"vector": 0})),
}


@pytest.mark.parametrize("name", KINDS_OF_ANSWERS)
@pytest.mark.parametrize("budget", [0.8, 0.97])
def test_for_every_kind_so_many_frames_prove_as_a_build_says(tmp_path: Path, name: str, budget: float) -> None:
    """All of the frames needed agree: it is shown; one fewer: it is not. The note's count of frames is just enough."""
    kind, one, answer = KINDS_OF_ANSWERS[name]
    settings = loaded(tmp_path)
    settings = dataclasses.replace(settings, budget=dataclasses.replace(settings.budget, min_agreement=budget))

    def shown(right: int, frames: int) -> Agreement:
        outputs = [np.repeat(o, frames, axis=0) for o in one]
        wrong = [o.copy() for o in outputs]
        for o in wrong:
            o[right:] = np.nan
        labels = ("a", "b") if name == "text" else ()
        return agreement(kind, outputs, wrong, answer=answer, labels=labels)

    needed = settings.frames_needed
    assert shown(needed, needed).lower_bound >= budget > shown(needed - 1, needed - 1).lower_bound
    is_graded = shown(1, 1).is_graded
    for count in (needed, 4 * needed):
        said = note_on_proof(Evidence([], [], prove=list(np.zeros((count, 1)))), budget, 0.95, is_graded)
        found = re.search(r"([\d.]+) % ", said.split("prove:")[1])
        assert found is not None
        right = round(float(found[1]) / 100 * count)
        assert shown(right, count).lower_bound >= budget > shown(right - 1, count).lower_bound


def test_few_frames_choose_at_the_confidence_that_they_can_show(tmp_path: Path) -> None:
    evidence = split(list(np.zeros((46, 4, 4), np.uint8)), loaded(tmp_path), "frames.npy")
    assert len(evidence.accept) == 16 and evidence.proof.most_confidence == 1
    shown = measured(np.ones(8, bool), min(0.95, evidence.most_confidence))
    assert measured(np.ones(16, bool), min(0.95, evidence.most_confidence)).lower_bound >= 0.8 > shown.lower_bound
