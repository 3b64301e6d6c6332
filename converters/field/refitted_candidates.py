"""Grafts that a device refitted, as candidates of a build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import onnx

from multigraft.agreement.agreement import Agreement
from multigraft.bundle.manifest import Relation
from multigraft.converters.field.refit_bundle import with_solved_weights
from multigraft.converters.graft.adapter import Adapter
from multigraft.converters.graft.candidate import Candidate, costed, judge
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.layer_order import NOW
from multigraft.converters.graft.refit import LayerFit
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.tail import Tail
from multigraft.converters.network.network import Network
from multigraft.errors import InputError
from multigraft.json_decoding import decode
from multigraft.refit.refit_plan import THINNED, Refit, SolvedGraft


def grafts_of(
    refit: Refit, networks: Sequence[Network], evidence: Mapping[str, Evidence], options: SearchOptions
) -> dict[str, Candidate]:
    """Task to its graft.

    Args:
        refit: From ``multigraft calibrate refit``.
        networks: Those of the build.
        evidence: Task to frames, on whose held-out part the grafts are judged again; where there are none, the
            agreement that the device measured stands.
        options: Confidence and tolerances.

    Raises:
        InputError: The refit is of other networks.
    """
    by_name = check_networks(refit, networks)
    own = [g for g in refit.grafts if g.method != THINNED]
    return {g.target: _candidate(refit, g, by_name, evidence.get(g.target), options) for g in own}


def check_networks(refit: Refit, networks: Sequence[Network]) -> dict[str, Network]:
    """Name to each network of a build, all of which the refit is of.

    Raises:
        InputError: The refit is of other networks.
    """
    by_name = {n.name: n for n in networks}
    again = "plan and refit again with the networks you build"
    for graft in refit.grafts:
        for name in (graft.donor, graft.target):
            if name not in by_name:
                raise InputError(f"the refit is of a network {name!r}, which the settings do not name", again)
            planned, built = refit.sources.get(name, ""), by_name[name].source_sha256
            if planned and built and planned != built:
                raise InputError(f"the refit is of another network {name!r}: its SHA-256 differs", again)
        if not by_name[graft.donor].sees_frames_of(by_name[graft.target]):
            raise InputError(f"the refit has {graft.target!r} on {graft.donor!r}, which looks at other frames", again)
    return by_name


def _candidate(
    refit: Refit, graft: SolvedGraft, networks: Mapping[str, Network], evidence: Evidence | None, options: SearchOptions
) -> Candidate:
    donor, target = networks[graft.donor], networks[graft.target]
    if graft.method not in get_args(Method) or graft.relation not in get_args(Relation):
        raise InputError(f"the refit of {graft.target} is by {graft.method!r}", "use the version that made it")
    method: Method = graft.method  # type: ignore[assignment]
    relation: Relation = graft.relation  # type: ignore[assignment]
    at, cut = donor.cut_point(graft.donor_point), target.cut_point(graft.target_point)
    join = Join(donor.name, target.name, at, cut, method, relation, graft.cka)
    order = with_solved_weights(target, join, refit.weights)
    nodes = tuple(_plain(n) for n in order.nodes)
    constants = {k.removeprefix(NOW): np.asarray(v) for k, v in order.constants.items()}
    tail = Tail((at.name,), nodes, constants, target.outputs, target.opset, target.batch)
    layers = tuple(LayerFit(s.layer, s.strength, s.relative_error, s.rows) for s in graft.layers)
    adapter = None
    if method != "refit":
        made = nodes[: len(nodes) - len(target.nodes[cut.node_index + 1 :])]
        adapter = Adapter(made, {}, at.name, layers[0].relative_error)
    if evidence is None:
        return costed(join, tail, target, measured_on_device(graft), layers, adapter)
    tolerance = (options.tolerances or {}).get(target.name)
    return judge(join, tail, donor, target, evidence, options.confidence, tolerance, layers, adapter)


def measured_on_device(graft: SolvedGraft) -> Agreement | None:
    """The agreement that a device measured, or None where it had no frames for that.

    Raises:
        InputError: It is none.
    """
    if graft.agreement is None:
        return None
    try:
        shown: Agreement = decode(Agreement, graft.agreement, "agreement")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the refit of {graft.target} is damaged ({error})", "refit again") from error
    if not (0 <= shown.lower_bound <= shown.value <= 1 and 0 < shown.confidence < 1 and shown.frames > 0):
        raise InputError(f"the refit of {graft.target} has an agreement that cannot be", "refit again")
    return shown


def _plain(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node with its tensors under the target's own names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = node.name.removeprefix(NOW)
    copy.input[:] = [i.removeprefix(NOW) for i in node.input]
    copy.output[:] = [o.removeprefix(NOW) for o in node.output]
    return copy
