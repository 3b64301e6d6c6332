"""What two networks compute alike is found branch by branch, all of it, and their answers stay what they were."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.tail import grafted_answers, tail_behind
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network, session_of
from multigraft.converters.thinning.tree import Tree
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.descent.detectors import Detector, Export
from tests.converters.descent.equal_parts import plan_of
from tests.converters.descent.random_graphs import RandomGraph, Written, random_graph
from tests.converters.graft.networks import frames

FRAMES = frames(3)
COLOURS = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8))
RGB = Preprocessing(32, 32, "rgb", (0.0,) * 3, (1 / 255,) * 3)
BACKBONE = 71_320
"""Parameters of a detector's backbone and neck, batch norms folded; its heads have 7,215 or more."""


def answers_by_segments(multitask: MultiTaskModel, x: npt.NDArray[Any], task: str) -> list[npt.NDArray[Any]]:
    """A task's answers to one frame, its segments run in turn, each on its own."""
    asked = next(t for t in multitask.tasks if t.name == task)
    values: dict[str, npt.NDArray[Any]] = dict.fromkeys(multitask.inputs, x)
    inferred = onnx.shape_inference.infer_shapes(multitask.model)
    for name in asked.segments:
        segment = next(s for s in multitask.segments if s.name == name)
        part = onnx.utils.Extractor(inferred).extract_model(list(segment.inputs), list(segment.outputs))
        made = session_of(part, name).run(list(segment.outputs), {i: values[i] for i in segment.inputs})
        values |= dict(zip(segment.outputs, made, strict=True))
    return [values[o] for o in asked.outputs]


def largest(network: Network, x: npt.NDArray[Any]) -> float:
    """The largest number on the way to the answers: float32 rounds sums of such by a share of it, here 3e-7 at most."""
    every = network.run(x, [o for node in network.nodes for o in node.output if o])
    return max(float(np.abs(value).max()) for value in every.values())


def assert_answers_stay(donor: Network, targets: tuple[Network, ...], error: float) -> MultiTaskModel:
    untouched = donor.model.SerializeToString(deterministic=True)
    made = assemble((donor, *targets), plan_of(donor, *targets))
    assert donor.model.SerializeToString(deterministic=True) == untouched
    for network in (donor, *targets):
        x = network.prepare(FRAMES if network.input_shape[0] == 1 else COLOURS)[:1]
        wanted, size = network.run(x), largest(network, x)
        for name, given_ in zip(network.outputs, answers_by_segments(made, x, network.name), strict=True):
            np.testing.assert_allclose(given_, wanted[name], rtol=0, atol=error * size)
    return made


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 24), st.integers(0, 10**6), st.data())
def test_all_that_descends_from_equal_weights_is_shared_and_nothing_else(count: int, seed: int, data: Any) -> None:
    graph = random_graph(np.random.default_rng(seed), count, seed)
    weighted = [k for k, s in enumerate(graph.steps) if s.op in ("Conv", "Pointwise", "Depthwise")]
    changed = set(data.draw(st.lists(st.sampled_from(weighted), max_size=3)))
    donor, target = Written(graph, "first"), Written(graph, "second", changed)
    mine, theirs = donor.network(), target.network()
    found = lineage(mine, theirs)
    same = graph.same_as_before(changed) - {0}
    if not any(k in weighted for k in same):
        assert found.common is None and not found.equal
        return
    matched = found.common.matched if found.common else None
    if matched is not None:
        assert matched.keys() - {"second/image"} == {target.tensor(k) for k in same}
        given_ = grafted_answers(mine, tail_behind(found.common, theirs), FRAMES)  # type: ignore[arg-type]
        x = theirs.prepare(FRAMES)
        wanted, size = theirs.run(x), largest(theirs, x)
        for name, value in zip(theirs.outputs, given_, strict=True):
            np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-6 * size)
    else:
        assert found.equal
    assert_answers_stay(mine, (theirs,), 1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 20), st.integers(0, 10**6), st.integers(1, 10**6), st.data())
def test_channels_and_nodes_in_other_orders_hide_nothing(count: int, seed: int, shuffled: int, data: Any) -> None:
    """Adding tensors of unlike orders takes a layer of its own, so graphs without sums are held to all of it."""
    graph = random_graph(np.random.default_rng(seed), count, seed)
    weighted = [k for k, s in enumerate(graph.steps) if s.op in ("Conv", "Pointwise", "Depthwise")]
    changed = set(data.draw(st.lists(st.sampled_from(weighted[1:] or weighted), max_size=2)))
    mine, written = Written(graph, "first").network(), Written(graph, "second", changed, shuffled)
    theirs = written.network()
    common = lineage(mine, theirs).common
    if common is not None and not any(s.op == "Add" for s in graph.steps):
        for_answers = {k for k in graph.outputs if graph.steps[k].op not in ("Conv", "Pointwise")}
        same = {written.tensor(k) for k in graph.same_as_before(changed) - {0} - for_answers}
        assert same <= common.matched.keys()
    assert_answers_stay(mine, (theirs,), 1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(8, 24), st.integers(0, 10**6), st.data())
def test_tasks_that_share_unlike_parts_of_one_trunk_run_what_they_need(count: int, seed: int, data: Any) -> None:
    graph = random_graph(np.random.default_rng(seed), count, seed)
    weighted = [k for k, s in enumerate(graph.steps) if s.op in ("Conv", "Pointwise", "Depthwise")]
    subsets = st.sets(st.sampled_from(weighted[1:] or weighted), max_size=2)
    targets = tuple(Written(RandomGraph(graph.steps, seed), f"task{k}", data.draw(subsets)).network() for k in range(3))
    donor = Written(graph, "donor").network()
    made = assert_answers_stay(donor, targets, 1e-6)
    nodes = [n for n in made.model.graph.node if n.op_type == "Conv" and n.name.startswith("donor/")]
    assert len(nodes) == sum(n.op_type == "Conv" for n in donor.nodes)


def detector(name: str, **how: Any) -> Network:
    return Network(name, _imported(Detector(**how).model()), RGB, "other")


def _imported(model: onnx.ModelProto) -> onnx.ModelProto:
    from multigraft.converters.importing.simplify import simplify

    return simplify(model, RGB, "built in code")


PERSON = detector("person")


@pytest.mark.parametrize(
    "export",
    [
        Export(),
        Export(opset=11, constants=True),
        Export(folds=False, prefix="net/"),
        Export(shuffled=5),
        Export(opset=11, folds=False, shuffled=9, prefix="b/", constants=True, heads_last=False),
    ],
    ids=["plain", "opset 11", "batch norms", "channels", "all"],
)
def test_detectors_of_three_scales_share_the_whole_backbone_whatever_the_export(export: Export) -> None:
    face = detector("face", head=2, classes=3, export=export)
    common = lineage(PERSON, face).common
    assert common is not None
    assert common.donor_point.label == "lateral5.active + neck4.active + neck3.active"
    assert common.target_point.weights == common.donor_point.weights == BACKBONE
    assert all("head" in n.name or n.op_type == "Concat" for n in common.nodes)
    assert_answers_stay(PERSON, (face,), 1e-5)


def test_a_backbone_that_is_partly_tuned_is_shared_along_every_path_as_deep_as_it_is_equal() -> None:
    """Stage 5 and what it leads to differ, and stage 3's way to the finest scale does not."""
    export = Export(opset=11, folds=False, shuffled=9)
    hand = detector("hand", head=3, tuned=("stage5",), export=export)
    common = lineage(PERSON, hand).common
    assert common is not None and common.donor_point.label == "stage3.sum + stage4.sum + down5.active"
    assert_answers_stay(PERSON, (hand, detector("face", head=2)), 1e-5)


def test_a_network_that_differs_in_nothing_but_its_export_is_shared_whole() -> None:
    twin = detector("twin", export=Export(opset=11, folds=False, shuffled=9, prefix="b/"))
    made = assert_answers_stay(PERSON, (twin,), 1e-5)
    assert [s.name for s in made.segments] == ["trunk"]
    assert made.tasks[1].outputs == ("person/found",) and made.tasks[1].segments == ("trunk",)


def test_other_weights_share_nothing_and_an_activation_that_differs_ends_the_common_part() -> None:
    assert lineage(PERSON, detector("stranger", head=2, tuned=("",))).common is None
    common = lineage(PERSON, detector("relu", act="Relu")).common
    assert common is not None and common.donor_point.label == "stem.y"


def test_ten_heads_stand_on_one_trunk_that_is_counted_once() -> None:
    models = [Detector(head=k + 1, export=Export(opset=20, shuffled=k)).model() for k in range(10)]
    donor, *heads = (Network(f"task{k}", model, RGB, "other") for k, model in enumerate(models))
    plan = plan_of(donor, *heads)
    assert len(plan.grafts) == 9
    assert plan.weights == BACKBONE + 10 * (donor.weights - BACKBONE)
    made = assemble((donor, *heads), plan)
    assert [s.name for s in made.segments] == ["trunk", *(f"head_task{k}" for k in range(10))]


def test_what_is_equal_within_rounding_counts_and_what_was_trained_on_does_not() -> None:
    for scale, is_shared in ((1e-7, True), (1e-3, False)):
        model = onnx.ModelProto()
        model.CopyFrom(PERSON.model)
        for constant in model.graph.initializer:
            value = onnx.numpy_helper.to_array(constant)
            if value.dtype == np.float32 and value.ndim == 4:
                moved = value * (1 + scale * np.random.default_rng(0).normal(size=value.shape))
                constant.CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.float32), constant.name))
        common = lineage(PERSON, Network("moved", model, RGB, "other")).common
        assert (common is not None) == is_shared


def test_frontiers_of_many_tensors_have_short_labels() -> None:
    common = lineage(PERSON, detector("face", head=2)).common
    assert common is not None
    many = dataclasses.replace(common.donor_point, tensors=tuple(f"n/t{k}" for k in range(7)))
    assert many.label == "t0 + t1 + t2 + 4 more"


def test_a_tree_of_tails_on_frontiers_is_joined_for_thinning_and_parted_again() -> None:
    hows: dict[str, dict[str, Any]] = {
        "face": {"head": 2, "export": Export(opset=20, shuffled=3)},
        "hand": {"head": 3, "export": Export(opset=20, shuffled=4), "tuned": ("stage5",)},
        "copy": {"export": Export(opset=20, shuffled=5)},
    }
    donor = Network("person", Detector(export=Export(opset=20)).model(), RGB, "other")
    targets = {name: Network(name, Detector(**how).model(), RGB, "other") for name, how in hows.items()}
    plan = plan_of(donor, *targets.values())
    tree = Tree(donor, plan.grafts, {donor.name: donor, **targets})
    root, grafts = tree.parted(tree.joined())
    for name, target in targets.items():
        wanted = target.run(target.prepare(COLOURS))[target.outputs[0]]
        (made,) = grafted_answers(root, grafts[name].tail, COLOURS)
        np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))
        assert grafts[name].own_weights == plan.grafts[name].own_weights
        assert grafts[name].own_macs == plan.grafts[name].own_macs
