"""The refit recovers what can be recovered and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.graft.candidate import Join, Method, evaluate, make_tail
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.refit import refit
from multigraft.converters.network.network import Network
from tests.converters.graft.networks import frames, perturbed, residual_network

FIT = frames(160, seed=1)
ACCEPT = frames(200, seed=2)


def join(donor: Network, target: Network, position: int, method: Method) -> Join:
    return Join(donor.name, target.name, donor.cut_points[position], target.cut_points[position], method, "independent")


def test_refit_on_its_own_features_changes_no_answer() -> None:
    network = residual_network("a", 0)
    cut = network.cut_points[1]
    features = network.run(network.prepare(FIT), [cut.name])[cut.name].astype(np.float32)
    solved = refit(network, cut.name, features, features)
    assert all(layer.relative_error < 1e-4 for layer in solved.layers)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_refit_beats_raw_sharing_between_independent_networks(position: int) -> None:
    donor, target = residual_network("a", 0), residual_network("b", 7)
    evidence = Evidence(FIT, ACCEPT)
    raw = evaluate(join(donor, target, position, "raw"), donor, target, evidence)
    solved = evaluate(join(donor, target, position, "refit"), donor, target, evidence)
    assert solved.agreement.value > raw.agreement.value
    assert solved.agreement.lower_bound <= solved.agreement.value


def test_refit_removes_a_rescaling_of_the_features() -> None:
    """A donor whose stem is scaled per channel holds the same information: the refit has to find all of it."""
    target = residual_network("b", 3)
    donor = residual_network("a", 3)
    cut = target.cut_points[0]
    features = target.run(target.prepare(FIT), [cut.name])[cut.name].astype(np.float32)
    scale = np.linspace(0.5, 2, features.shape[1], dtype=np.float32)[None, :, None, None]
    solved = refit(target, cut.name, features, features * scale)
    assert solved.layers[0].relative_error < 1e-3
    assert donor.name not in {c.split("/")[0] for c in solved.constants}


def test_depth_costs_agreement_and_saves_weights() -> None:
    donor, target = residual_network("a", 0), residual_network("b", 7)
    found = [evaluate(join(donor, target, p, "refit"), donor, target, Evidence(FIT, ACCEPT)) for p in range(3)]
    assert [c.own_weights for c in found] == sorted((c.own_weights for c in found), reverse=True)
    assert [c.own_macs for c in found] == sorted((c.own_macs for c in found), reverse=True)


@pytest.mark.parametrize("method", ["adapter1", "adapter3"])
def test_adapter_joins_different_shapes(method: Method) -> None:
    donor, target = residual_network("a", 0, width=4), residual_network("b", 7, width=6)
    tail, _, adapter = make_tail(join(donor, target, 1, method), donor, target, FIT)
    assert adapter is not None and 0 <= adapter.relative_error < 1
    features = donor.run(donor.prepare(ACCEPT), [tail.source])[tail.source]
    assert tail.run(features.astype(np.float32))[0].shape == (len(ACCEPT), 3)


@pytest.mark.parametrize(("donor_position", "target_position"), [(2, 1), (1, 2), (0, 2)])
def test_adapter_changes_resolution_where_it_has_to(donor_position: int, target_position: int) -> None:
    donor, target = residual_network("a", 0), residual_network("b", 7)
    there = Join(
        "a", "b", donor.cut_points[donor_position], target.cut_points[target_position], "adapter1", "independent"
    )
    if donor.cut_points[donor_position].shape[1:] and target.cut_points[target_position].shape[1:]:
        tail, _, _ = make_tail(there, donor, target, FIT)
        features = donor.run(donor.prepare(ACCEPT[:3]), [tail.source])[tail.source]
        assert np.isfinite(tail.run(features.astype(np.float32))[0]).all()


def test_lineage_of_equal_related_and_independent_networks() -> None:
    parent = residual_network("a", 0)
    same, child, stranger = perturbed(parent, "b", 0.0), perturbed(parent, "c", 0.05), residual_network("d", 9)
    assert len(lineage(parent, same).equal) == len(parent.cut_points)
    assert not lineage(parent, child).equal and len(lineage(parent, child).related) == len(parent.cut_points)
    assert not lineage(parent, stranger).equal and not lineage(parent, stranger).related


def test_equal_weights_are_shared_without_any_difference() -> None:
    parent = residual_network("a", 0)
    same = perturbed(parent, "b", 0.0)
    found = evaluate(join(parent, same, -1, "exact"), parent, same, Evidence(FIT, ACCEPT))
    assert found.agreement.value == 1.0
    features = parent.run(parent.prepare(ACCEPT), [found.tail.source])[found.tail.source].astype(np.float32)
    original = same.run(same.prepare(ACCEPT))[same.outputs[0]]
    assert np.array_equal(found.tail.run(features)[0], original)
