"""Distillation makes a graft answer more like the original, never less; the accepting frames teach it nothing."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import onnx
import pytest

from multigraft.answers.kind import Kind
from multigraft.converters.distill.distill import distill_plan
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import Candidate, evaluate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import Tail
from multigraft.converters.job.progress import silent
from multigraft.converters.network.network import Network, session_of
from multigraft.errors import MissingDependencyError
from tests.converters.graft.networks import GREY, frames, model, residual_network

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment,unused-ignore]

needs_torch = pytest.mark.skipif(torch is None, reason="torch: is not installed")

DONOR = residual_network("donor", 0)
TARGET = residual_network("target", 5)
EVIDENCE = Evidence(frames(96, seed=1), frames(300, seed=2))
OPTIONS = SearchOptions()


def with_head(name: str, kind: Kind, *, is_map: bool = False, has_softmax: bool = False) -> Network:
    """The target's layers with another end: a 1x1 convolution on the strided map, or a softmax."""
    nodes = list(residual_network("", 5).model.graph.node)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in residual_network("", 5).model.graph.initializer}
    output = "/logits"
    shape: tuple[int, ...] = (3,)
    if is_map:
        nodes = nodes[:9]
        constants["head"] = np.random.default_rng(0).normal(size=(4, 12, 1, 1)).astype(np.float32)
        nodes.append(onnx.helper.make_node("Conv", ["/down", "head"], ["map"]))
        output, shape = "map", (4, 4, 4)
    if has_softmax:
        nodes.append(onnx.helper.make_node("Softmax", [output], ["probability"], axis=1))
        output = "probability"
    for node in nodes:
        node.input[:] = ["image" if i == "/image" else i for i in node.input]
    used = {i for n in nodes for i in n.input}
    kept = {k: v for k, v in constants.items() if k in used}
    return Network(name, model(nodes, kept, (1, 8, 8), {output: shape}), GREY, kind)


def grafted(target: Network, method: Method = "raw", point: int = 0, evidence: Evidence = EVIDENCE) -> Candidate:
    donor_point, target_point = DONOR.cut_points[point], target.cut_points[point]
    join = Join("donor", target.name, donor_point, target_point, method, "independent")
    return evaluate(join, DONOR, target, evidence)


def plan_of(candidate: Candidate) -> SharingPlan:
    agreement = candidate.shown
    return SharingPlan({candidate.join.target: candidate}, 100, 1000, agreement.value, agreement.lower_bound)


def distilled(target: Network, candidate: Candidate, evidence: Evidence = EVIDENCE) -> SharingPlan:
    return distill_plan(plan_of(candidate), (DONOR, target), {target.name: evidence}, OPTIONS, silent)


@needs_torch
@pytest.mark.parametrize("method", ["raw", "refit", "adapter3"])
def test_a_graft_answers_more_like_the_original(method: Method) -> None:
    before = plan_of(grafted(TARGET, method))
    lines: list[str] = []
    after = distill_plan(before, (DONOR, TARGET), {"target": EVIDENCE}, OPTIONS, lines.append)
    assert after.lower_bound >= before.lower_bound
    assert after.agreement == after.grafts["target"].shown.value
    assert (after.weights, after.macs) == (before.weights, before.macs)
    assert after.grafts["target"].own_weights == before.grafts["target"].own_weights
    assert any("epoch" in line for line in lines) and "agreement" in lines[-1]
    if method == "raw":
        assert after.agreement > before.agreement + 0.2


@needs_torch
@pytest.mark.parametrize(
    "target",
    [
        with_head("softmax", "classification", has_softmax=True),
        with_head("values", "regression"),
        with_head("points", "landmarks"),
        with_head("boxes", "detection"),
        with_head("anything", "other"),
        with_head("mask", "segmentation", is_map=True),
        with_head("soft_mask", "segmentation", is_map=True, has_softmax=True),
        with_head("yes_or_no", "other", is_map=True),
    ],
    ids=lambda n: n.name,
)
def test_outputs_of_every_kind_are_learned(target: Network) -> None:
    candidate = grafted(target)
    after = distilled(target, candidate)
    assert after.lower_bound > candidate.shown.lower_bound


@needs_torch
def test_the_same_seed_gives_the_same_weights() -> None:
    candidate = grafted(TARGET)
    tails = [distilled(TARGET, candidate).grafts["target"].tail for _ in range(2)]
    for name, value in tails[0].constants.items():
        np.testing.assert_array_equal(value, tails[1].constants[name])


@needs_torch
def test_nothing_is_learned_from_the_accepting_frames() -> None:
    candidate = grafted(TARGET)
    other = Evidence(EVIDENCE.fit, frames(200, seed=9))
    tails = [distilled(TARGET, candidate, e).grafts["target"].tail for e in (EVIDENCE, other)]
    assert any(not np.array_equal(v, candidate.tail.constants[k]) for k, v in tails[0].constants.items())
    for name, value in tails[0].constants.items():
        np.testing.assert_array_equal(value, tails[1].constants[name])


@needs_torch
def test_a_graft_that_gets_worse_stays_as_it_was() -> None:
    misled = Evidence([np.zeros((8, 8), np.uint8)] * 64, EVIDENCE.accept)
    candidate = grafted(TARGET, "refit")
    lines: list[str] = []
    before = plan_of(candidate)
    after = distill_plan(before, (DONOR, TARGET), {"target": misled}, OPTIONS, lines.append)
    assert after == before
    assert "kept as it was" in lines[-1]


@needs_torch
def test_an_exact_graft_is_left_alone() -> None:
    twin = Network("twin", residual_network("twin", 0).model, GREY)
    candidate = grafted(twin, "exact")
    assert distilled(twin, candidate) == plan_of(candidate)


@needs_torch
def test_an_operator_that_cannot_be_trained_keeps_the_graft_and_is_named() -> None:
    candidate = grafted(TARGET)
    hard = onnx.helper.make_node("Hardmax", ["target/logits"], ["target/hard"], "harden")
    nodes = (*candidate.tail.nodes, hard)
    tail = dataclasses.replace(candidate.tail, nodes=nodes, outputs=("target/hard",))
    lines: list[str] = []
    before = plan_of(dataclasses.replace(candidate, tail=tail))
    assert distill_plan(before, (DONOR, TARGET), {"target": EVIDENCE}, OPTIONS, lines.append) == before
    assert "Hardmax 'harden'" in lines[-1]


@needs_torch
def test_a_tail_without_weights_stays_as_it_was() -> None:
    candidate = grafted(TARGET)
    node = onnx.helper.make_node("Identity", [DONOR.cut_points[0].name], ["y"])
    bare = dataclasses.replace(candidate, tail=Tail((DONOR.cut_points[0].name,), (node,), {}, ("y",), 20, 64))
    assert distilled(TARGET, bare).grafts["target"].tail.nodes == (node,)


@needs_torch
def test_the_distilled_plan_is_assembled_as_any_other() -> None:
    after = distilled(TARGET, grafted(TARGET, "adapter3"))
    joined = assemble((DONOR, TARGET), after)
    frame = DONOR.prepare(frames(1, seed=3))
    (given,) = session_of(joined.model, "joined").run(["target/logits"], {DONOR.input: frame})
    tail = after.grafts["target"].tail
    np.testing.assert_allclose(given, tail.run(DONOR.run(frame, [tail.source])[tail.source])[0], atol=1e-5)


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"\[torch\]"):
        distill_plan(SharingPlan({}, 0, 0), (), {}, OPTIONS, silent)
