"""The refit recovers what can be recovered and touches nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from multigraft.converters.graft.candidate import evaluate, make_tail
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.refit import refit, run_node
from multigraft.converters.graft.tail import tail_of
from multigraft.converters.network.network import Network, attributes
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.graft.networks import GREY, frames, model, perturbed, residual_network

FIT = frames(160, seed=1)
ACCEPT = frames(200, seed=2)


def join(donor: Network, target: Network, position: int, method: Method) -> Join:
    return Join(donor.name, target.name, donor.cut_points[position], target.cut_points[position], method, "independent")


def test_refit_on_its_own_features_changes_no_answer() -> None:
    network = residual_network("a", 0)
    cut = network.cut_points[1]
    features = network.run(network.prepare(FIT), [cut.name])[cut.name].astype(np.float32)
    solved = refit(network, {cut.name: (features, features)})
    assert len(solved.layers) == 2 and all(layer.relative_error < 1e-4 for layer in solved.layers)
    twin = perturbed(network, "b", 0.0)
    graft = evaluate(join(network, twin, 1, "refit"), network, twin, Evidence(FIT, ACCEPT))
    features = network.run(network.prepare(ACCEPT), [cut.name])[cut.name]
    (original,) = Evidence(FIT, ACCEPT).answers(twin)
    np.testing.assert_allclose(graft.tail.run(features)[0], original, atol=1e-3 * np.ptp(original))
    assert graft.shown.value == 1.0


@pytest.mark.parametrize("position", [0, 1, 2])
def test_refit_beats_raw_sharing_between_independent_networks(position: int) -> None:
    donor, target = residual_network("a", 0), residual_network("b", 7)
    evidence = Evidence(FIT, ACCEPT)
    raw = evaluate(join(donor, target, position, "raw"), donor, target, evidence)
    solved = evaluate(join(donor, target, position, "refit"), donor, target, evidence)
    assert solved.shown.value > raw.shown.value
    assert solved.shown.lower_bound < solved.shown.value


def test_refit_removes_a_rescaling_of_the_features() -> None:
    """A donor whose stem is scaled per channel holds the same information: the refit has to find all of it."""
    target = residual_network("b", 3)
    scale = np.linspace(0.5, 2, 6, dtype=np.float32)
    constants = {name.removeprefix("b/"): value for name, value in target.constants.items()}
    donor = residual_network("a", 3, constants=constants | {n: (constants[n].T * scale).T for n in ("w0", "b0")})
    evidence = Evidence(FIT, ACCEPT)
    raw = evaluate(join(donor, target, 0, "raw"), donor, target, evidence)
    solved = evaluate(join(donor, target, 0, "refit"), donor, target, evidence)
    assert solved.layers[0].relative_error < 1e-5
    assert raw.shown.value < 0.5 and solved.shown.value > 0.95
    features = donor.run(donor.prepare(ACCEPT), [solved.tail.source])[solved.tail.source].astype(np.float32)
    (original,) = evidence.answers(target)
    np.testing.assert_allclose(solved.tail.run(features)[0], original, atol=0.05 * np.ptp(original))


def test_depth_costs_agreement_and_saves_what_the_donor_computes() -> None:
    donor, depths = residual_network("a", 0), range(3)
    by_target = []
    for target in (residual_network("b", seed) for seed in (8, 9, 11)):
        grafts = [evaluate(join(donor, target, d, "refit"), donor, target, Evidence(FIT, ACCEPT)) for d in depths]
        assert [g.own_weights for g in grafts] == [target.weights - p.weights for p in target.cut_points]
        assert [g.own_macs for g in grafts] == [target.macs - p.macs for p in target.cut_points]
        by_target.append([g.shown.value for g in grafts])
    shallow, middle, deep = np.mean(by_target, axis=0)
    assert shallow > middle > deep


@pytest.mark.parametrize("method", ["adapter1", "adapter3"])
def test_adapter_joins_different_shapes(method: Method) -> None:
    donor, target = residual_network("a", 0, width=4), residual_network("b", 7, width=6)
    tail, _, adapter = make_tail(join(donor, target, 1, method), donor, target, FIT)
    assert adapter is not None and 0 <= adapter.relative_error < 1
    features = donor.run(donor.prepare(ACCEPT), [tail.source])[tail.source]
    assert tail.run(features.astype(np.float32))[0].shape == (len(ACCEPT), 3)


SIZES = [
    ((16, 8), (8, 8)),
    ((8, 16), (8, 8)),
    ((16, 16), (8, 8)),
    ((8, 8), (16, 16)),
    ((12, 8), (8, 8)),
    ((8, 8), (12, 16)),
]
"""Height and width of the donor's and of the target's representation: whole factors stride, others are resized."""


@pytest.mark.parametrize("method", ["adapter1", "adapter3"])
@pytest.mark.parametrize(("given", "wanted"), SIZES, ids=str)
def test_adapter_changes_resolution_where_it_has_to(
    given: tuple[int, int], wanted: tuple[int, int], method: Method
) -> None:
    donor, target = (
        residual_network(name, seed, preprocessing=Preprocessing(*size, "grey", (0.0,), (1 / 255,)))
        for name, seed, size in (("a", 0, given), ("b", 7, wanted))
    )
    there = join(donor, target, 1, method)
    assert (there.donor_point.shape[1:], there.target_point.shape[1:]) == (given, wanted)
    tail, _, adapter = make_tail(there, donor, target, FIT)
    assert adapter is not None
    kinds = [node.op_type for node in adapter.nodes]
    strides = given[0] / wanted[0], given[1] / wanted[1]
    if all(s in (1, 2) for s in strides):
        assert kinds == ["Conv", "Relu"] and attributes(adapter.nodes[0])["strides"] == [int(s) for s in strides]
        # Padding that is odd in all is larger at the end, as TFLite's SAME has it: else a PAD would be added.
        pads: Any = attributes(adapter.nodes[0])["pads"]
        assert {end - begin for begin, end in zip(pads[:2], pads[2:], strict=True)} <= {0, 1}
    else:
        assert kinds == ["Resize", "Conv", "Relu"]
    cut = there.target_point.name
    alone = tail_of(adapter.nodes, adapter.constants | target.constants, (tail.source,), target, (cut,))
    for frames_seen, bound in ((FIT, 0.03), (ACCEPT, 0.1)):
        features = donor.run(donor.prepare(frames_seen), [tail.source])[tail.source].astype(np.float32)
        original = target.run(target.prepare(frames_seen), [cut])[cut].astype(np.float32)
        (adapted,) = alone.run(features)
        assert adapted.shape == original.shape
        variance = float(((original - original.mean((0, 2, 3), keepdims=True)) ** 2).sum())
        assert float(((adapted - original) ** 2).sum()) / variance == pytest.approx(adapter.relative_error, rel=bound)
    assert adapter.relative_error < 0.8
    assert tail.run(features)[0].shape == (len(ACCEPT), 3)


def test_lineage_of_equal_related_and_independent_networks() -> None:
    parent = residual_network("a", 0)
    same, child, stranger = perturbed(parent, "b", 0.0), perturbed(parent, "c", 0.05), residual_network("d", 9)
    assert len(lineage(parent, same).equal) == len(parent.cut_points)
    assert not lineage(parent, child).equal and len(lineage(parent, child).related) == len(parent.cut_points)
    assert not lineage(parent, stranger).equal and not lineage(parent, stranger).related


def test_equal_weights_are_shared_without_any_difference() -> None:
    parent = residual_network("a", 0)
    same = perturbed(parent, "b", 0.0)
    graft = evaluate(join(parent, same, -1, "exact"), parent, same, Evidence(FIT, ACCEPT))
    assert graft.shown.value == 1.0
    features = parent.run(parent.prepare(ACCEPT), [graft.tail.source])[graft.tail.source].astype(np.float32)
    original = same.run(same.prepare(ACCEPT))[same.outputs[0]]
    assert np.array_equal(graft.tail.run(features)[0], original)


@pytest.mark.parametrize(
    ("shape", "kind", "expected"), [((210, 4), "Reshape", (70, 3, 4)), ((1, 70, 4), "Squeeze", (70, 4))]
)
def test_frames_that_lie_along_another_axis_stay_together(
    shape: tuple[int, ...], kind: str, expected: tuple[int, ...]
) -> None:
    """As in a transformer, whose tokens are rows of a Gemm and whose heads come first; more than go through at once."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    second = np.array([-1, 3, 4] if kind == "Reshape" else [0], np.int64)
    node = onnx.helper.make_node(kind, ["x", "second"], ["y"])
    np.testing.assert_array_equal(run_node(node, {"x": x}, {"second": second}, 20)["y"], x.reshape(expected))


def product_network(name: str, has_bias: bool, shift: float = 0.0) -> Network:
    """A stem, ``shift`` on its channels, then a product whose bias, if it has one, is added apart."""
    rng = np.random.default_rng(5)
    constants: dict[str, Any] = {
        "w0": rng.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "b0": np.ones(6, np.float32) + shift,
        "w1": rng.normal(size=(216, 3)).astype(np.float32) + 0.3,
        "b1": np.array([1.0, -2.0, 3.0], np.float32),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w0", "b0"], ["stem"]),
        onnx.helper.make_node("Flatten", ["stem"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w1"], ["product" if has_bias else "logits"]),
    ]
    if has_bias:
        nodes.append(onnx.helper.make_node("Add", ["b1", "product"], ["logits"]))
    return Network(name, model(nodes, constants, (1, 8, 8), {"logits": (3,)}), GREY)


@pytest.mark.parametrize("has_bias", [True, False], ids=["bias apart", "no bias"])
def test_a_product_of_features_that_are_shifted_loses_the_shift(has_bias: bool) -> None:
    """What a product has no bias for goes into the addition behind it, or else into its weights."""
    donor, target = product_network("a", has_bias, shift=4.0), product_network("b", has_bias)
    point, own = donor.cut_points[0], target.cut_points[0]
    evidence = Evidence(FIT, ACCEPT)
    graft = evaluate(Join("a", "b", point, own, "refit", "independent"), donor, target, evidence)
    (original,) = evidence.answers(target)
    features = donor.run(donor.prepare(ACCEPT), [point.name])[point.name].astype(np.float32)
    (now,) = graft.tail.run(features)
    error = ((now - original) ** 2).mean(0) / original.var(0)
    assert error.max() < (1e-3 if has_bias else 0.05)
