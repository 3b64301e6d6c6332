"""Networks that a device solved anew with fewer channels, as parts of a build's plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from multigraft.converters.field.refitted_candidates import check_networks, measured_on_device
from multigraft.converters.field.thinned_order import FieldThinning
from multigraft.converters.graft.candidate import whole_agreement
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import PlanningResult
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedNetwork
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.converters.thinning.thin import narrower_layers
from multigraft.refit.refit_plan import THINNED, Refit, SolvedGraft


def thinned_of(
    refit: Refit, networks: Sequence[Network], evidence: Mapping[str, Evidence], options: SearchOptions
) -> dict[str, ThinnedNetwork]:
    """Task to its network with fewer channels; arguments and errors are those of
    :func:`multigraft.converters.field.refitted_candidates.grafts_of`."""
    by_name = check_networks(refit, networks)
    own = {g.target: g for g in refit.grafts if g.method == THINNED}
    return {t: _thinned(refit, g, by_name[t], evidence.get(t), options) for t, g in own.items()}


def _thinned(
    refit: Refit, graft: SolvedGraft, network: Network, evidence: Evidence | None, options: SearchOptions
) -> ThinnedNetwork:
    thinning = FieldThinning(network, graft.kept)
    made = thinning.solved(refit.weights)
    writers = {o: i for i, n in enumerate(network.nodes) for o in n.output}
    errors = {writers[s.layer]: s.relative_error for s in graft.layers if s.layer in writers}
    layers = narrower_layers(network, thinning.groups, thinning.chosen, errors)
    if evidence is None:
        shown = measured_on_device(graft)
    else:
        tolerance = (options.tolerances or {}).get(network.name)
        shown = whole_agreement(made, network, evidence, options.confidence, tolerance)
    return ThinnedNetwork(made, shown, layers, network.weights, network.macs)


def with_refitted_thinnings(
    outcome: PlanningResult, networks: Sequence[Network], thinned: Mapping[str, ThinnedNetwork], shares: ThinShares
) -> PlanningResult:
    """``outcome`` with the networks that a device thinned, where they stand alone and keep the budget.

    Args:
        outcome: Of the search that thins nothing.
        networks: All, as they came.
        thinned: Task to its network with fewer channels.
        shares: A share that is asked for as a number stands, whatever the agreement.
    """
    chosen, left = outcome.chosen, []
    for network in networks:
        if (part := thinned.get(network.name)) is None:
            continue
        if network.name in chosen.grafts or any(g.join.donor == network.name for g in chosen.grafts.values()):
            left.append(f"{network.name} shares a trunk, so that what a device thinned of it is left out")
        elif isinstance(shares.of(network.name), str) and not outcome.limits.keeps(network.name, part.agreement):
            shown = "no agreement" if part.agreement is None else f"a bound of {part.agreement.lower_bound:.3f}"
            asked = outcome.limits.least(network.name)
            left.append(
                f"{network.name} is left whole: thinned on a device it shows {shown} and {asked:g} is asked for"
            )
        else:
            chosen = chosen.with_thinned(network.name, part)
    front = outcome.front if chosen is outcome.chosen else (*outcome.front, chosen)
    message = "; ".join([chosen.describe() if chosen.thinned else outcome.message, *left])
    return dataclasses.replace(outcome, chosen=chosen, front=front, message=message)
