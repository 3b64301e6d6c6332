"""Planning without frames: what is shared when nothing can be refitted or measured, and what is refused."""

from __future__ import annotations

import pytest

from multigraft.converters.graft.frameless import plan_without_frames
from multigraft.converters.graft.propose import propose
from multigraft.converters.graft.sharing_plan import Limits
from multigraft.errors import ConfigurationError
from tests.converters.graft.networks import perturbed, residual_network

FIRST = residual_network("first", 1)
TWIN = perturbed(FIRST, "twin", 0.0)
RELATIVE = perturbed(FIRST, "relative", 0.05)
STRANGER = residual_network("stranger", 9)


def alike(a: str, b: str) -> float:
    """Deep cut points are less alike, and so are different ones."""
    order = ("stem", "block", "flat", "pooled", "down")
    depths = [order.index(name.split("/")[-1]) for name in (a, b)]
    return 1.0 - 0.15 * max(depths) - 0.01 * abs(depths[0] - depths[1])


def test_equal_weights_are_shared_outright_and_agreement_is_not_made_up() -> None:
    outcome = plan_without_frames([FIRST, TWIN, STRANGER], alike, Limits(0.9), {})
    assert set(outcome.chosen.grafts) == {"twin"}
    graft = outcome.chosen.grafts["twin"]
    assert graft.join.method == "exact" and graft.agreement is None and not outcome.chosen.is_measured
    assert (graft.join.donor_point.label, graft.own_weights) == ("logits", 0)
    assert "not all measured" in outcome.message
    point = next(p for p in outcome.pareto_json() if p["chosen"])
    assert point["lowest_agreement"] is None and point["agreement"] == {}


def test_relatives_are_shared_raw_only_where_asked() -> None:
    networks = [FIRST, RELATIVE]
    assert not plan_without_frames(networks, alike, Limits(0.9), {}).chosen.grafts
    outcome = plan_without_frames(networks, alike, Limits(0.9), {"relative": "block"})
    assert outcome.chosen.grafts["relative"].join.method == "raw"


def test_what_needs_a_refit_is_refused_and_what_breaks_the_budget_is_told() -> None:
    with pytest.raises(ConfigurationError, match="cannot share up to layer 'block' of 'first' without frames"):
        plan_without_frames([FIRST, STRANGER], alike, Limits(0.9), {"stranger": "block"})
    outcome = plan_without_frames([FIRST, STRANGER], alike, Limits(0.9, max_weights_bytes=10), {})
    assert f"misses max_weights_bytes = 10 (it has {outcome.chosen.weights})" in outcome.message


def test_a_build_of_one_says_so() -> None:
    outcome = plan_without_frames([FIRST], alike, Limits(0.9), {})
    assert outcome.message == "nothing shared: first is the only network, and sharing needs two"


def test_a_refit_is_proposed_at_the_deepest_alike_layer_or_where_asked() -> None:
    proposed = {j.target: j for j in propose([FIRST, RELATIVE, STRANGER], alike, {})}
    shares = {target: (j.donor_point.label, j.method) for target, j in proposed.items()}
    assert shares == {"relative": ("block", "refit"), "stranger": ("block", "adapter3")}
    asked = propose([FIRST, STRANGER], alike, {"stranger": "stem"})
    assert [(j.target, j.donor_point.label) for j in asked] == [("stranger", "stem")]
    assert not propose([FIRST, STRANGER], lambda a, b: 0.1, {})
