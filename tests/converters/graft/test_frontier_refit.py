"""Grafts at sets of tensors: detectors of several scales and U-shaped networks, all of whose layers were tuned."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import evaluate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.propose import propose, solved_on_device
from multigraft.converters.graft.search import SearchOptions, joins_of
from multigraft.converters.graft.sharing_plan import Limits, SharingPlan
from multigraft.converters.graft.tail import grafted_answers
from multigraft.converters.importing.simplify import simplify
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.network import Network, session_of
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.descent.detectors import Detector
from tests.converters.graft.networks import perturbed, residual_network
from tests.converters.onnx_builder import OnnxBuilder

RGB = Preprocessing(32, 32, "rgb", (0.0,) * 3, (1 / 255,) * 3)
FRAMES = list(np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2))
EVIDENCE = Evidence(FRAMES[:40], FRAMES[40:])


def detector() -> onnx.ModelProto:
    return Detector(width=4).model()


def u_shaped() -> onnx.ModelProto:
    """Three levels, each joined with the way up."""
    b = OnnxBuilder(3)
    halves: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    levels = [b.conv_relu("first", b.input("image", 3, 32, 32), 6)]
    for k, width in enumerate((10, 16)):
        levels.append(b.conv_relu(f"down{k}", b.add("MaxPool", f"pool{k}", levels[-1], **halves), width))
    x = b.conv_relu("bottom", levels[-1], 16)
    for k, level in enumerate(levels[-2::-1]):
        b.constant(f"scales{k}", np.array([1, 1, 2, 2], np.float32))
        up = b.add("Resize", f"up{k}", x, "", f"scales{k}", mode="nearest")
        both = b.channels[up] + b.channels[level]
        x = b.conv_relu(f"up{k}.conv", b.add("Concat", f"joined{k}", up, level, channels=both, axis=1), 10)
    return b.model(b.conv("map", x, 2, 1))


def tuned(name: str, model: onnx.ModelProto, scale: float) -> Network:
    """A network with every weight moved a little."""
    clean = simplify(model, RGB, name)
    rng = np.random.default_rng([*name.encode()])
    for constant in clean.graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype == np.float32 and value.ndim > 1:
            moved = value + scale * value.std() * rng.normal(size=value.shape)
            constant.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), constant.name))
    return Network(name, clean, RGB, "regression")


PAIRS = {
    "detector": (tuned("donor", detector(), 0), tuned("target", detector(), 0.2)),
    "u_shaped": (tuned("donor", u_shaped(), 0), tuned("target", u_shaped(), 0.2)),
}
SHAPES = pytest.mark.parametrize("shape", PAIRS)


@SHAPES
def test_networks_without_cut_points_are_cut_at_sets_of_tensors(shape: str) -> None:
    donor, target = PAIRS[shape]
    line = lineage(donor, target)
    assert line.frontiers
    inner = [t for _, t in line.frontiers]
    deepest = max((p.weights for p in target.cut_points if p.weights < target.weights / 2), default=0)
    assert max(t.weights for t in inner) > max(2 * deepest, target.weights / 2)
    for d, t in line.frontiers:
        assert [donor.shapes[n] for n in d.tensors] == [target.shapes[n] for n in t.tensors]
        assert len(t.tensors) > 1


def test_networks_that_have_cut_points_are_cut_at_these() -> None:
    parent = residual_network("parent", 1)
    assert lineage(parent, perturbed(parent, "child", 0.01)).frontiers == ()


def error_of(donor: Network, target: Network, method: Method, at: int) -> tuple[float, int]:
    """Squared error over variance on held-out frames, and the weights of the target's own part."""
    d, t = lineage(donor, target).frontiers[at]
    evidence = Evidence(EVIDENCE.fit, EVIDENCE.accept)
    made = evaluate(Join(donor.name, target.name, d, t, method, "relative"), donor, target, evidence)
    (given,), (wanted,) = grafted_answers(donor, made.tail, evidence.accept), evidence.answers(target)
    return float(np.mean((given - wanted) ** 2) / wanted.var()), made.own_weights


@SHAPES
def test_layers_behind_a_set_of_tensors_are_solved_anew(shape: str) -> None:
    donor, target = PAIRS[shape]
    middle = len(lineage(donor, target).frontiers) // 2
    (raw, weights), (solved, own) = (error_of(donor, target, method, middle) for method in ("raw", "refit"))
    assert solved < 0.7 * raw
    assert own == weights < target.weights / 1.2


@SHAPES
def test_what_is_equal_up_to_a_set_of_tensors_answers_as_before(shape: str) -> None:
    donor, _ = PAIRS[shape]
    twin = tuned("twin", detector() if shape == "detector" else u_shaped(), 0)
    assert error_of(donor, twin, "raw", -1)[0] < 1e-10
    assert error_of(donor, twin, "refit", -1)[0] < 1e-6


def test_networks_of_one_structure_and_other_weights_are_refitted_there_too() -> None:
    donor = PAIRS["detector"][0]
    stranger = tuned("stranger", detector(), 4)
    joins = list(joins_of(donor, stranger, lineage(donor, stranger), lambda a, b: 0.0, None))
    inside = [j for j in joins if isinstance(j.target_point, Frontier)]
    assert inside and {(j.method, j.relation, j.cka) for j in inside} == {("refit", "independent", None)}
    depths = [j.target_point.node_index for j in joins]
    assert depths == sorted(depths)


def test_the_search_goes_on_behind_the_last_cut_point_and_the_donor_stays() -> None:
    networks = donor, target = PAIRS["detector"][0], tuned("target", detector(), 0.05)
    tolerance = float(0.6 * target.run(target.prepare(FRAMES))[target.outputs[0]].std())
    nothing = SimilarityTable.empty([n.name for n in networks], 0)
    evidence = {n.name: Evidence(EVIDENCE.fit, EVIDENCE.accept) for n in networks}
    options = SearchOptions(tolerances={n.name: tolerance for n in networks})
    plan = plan_sharing(networks, evidence, nothing, Limits(min_agreement=0.35), options).chosen
    ((name, graft),) = plan.grafts.items()
    giver = donor if name == target.name else target
    assert isinstance(graft.join.target_point, Frontier)
    assert len(graft.tail.sources) > 1

    joined = assemble(networks, plan)
    trunk = next(s for s in joined.segments if s.name == "trunk")
    assert set(graft.tail.sources) <= set(trunk.outputs)
    own = {n.name: n for n in joined.model.graph.node}
    assert all(own[n.name] == n for n in giver.nodes)
    kept = {i.name: numpy_helper.to_array(i) for i in joined.model.graph.initializer}
    read = {i for n in giver.nodes for i in n.input}
    assert all(np.array_equal(kept[k], v) for k, v in giver.constants.items() if k in read)
    session, (wanted,) = session_of(joined.model, "joined"), grafted_answers(giver, graft.tail, FRAMES[:4])
    outputs = next(t.outputs for t in joined.tasks if t.name == name)
    for k, frame in enumerate(FRAMES[:4]):
        (given,) = session.run(list(outputs), {giver.input: giver.prepare([frame])})
        np.testing.assert_allclose(given[0], wanted[k], rtol=1e-3, atol=1e-3)


def test_a_device_is_not_asked_to_refit_behind_several_tensors_that_a_search_chose() -> None:
    donor, target = PAIRS["detector"]
    join = Join(donor.name, target.name, *lineage(donor, target).frontiers[0], "refit", "relative")
    made = evaluate(join, donor, target, Evidence(FRAMES[:8], FRAMES[8:12]))
    said: list[str] = []
    plan = SharingPlan.apart((donor, target)).with_graft(target, made)
    assert solved_on_device(plan, said.append) == () and "several tensors of donor" in said[0]


def test_a_device_is_not_asked_to_refit_behind_several_tensors() -> None:
    for join in propose(PAIRS["detector"], lambda a, b: 1.0, {}):
        assert not isinstance(join.target_point, Frontier)
