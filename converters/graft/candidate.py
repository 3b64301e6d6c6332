"""One way to graft a target onto a donor: where, how, and what it gives on held-out frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.converters.graft.adapter import Adapter, AdapterDraft, draft_adapter, fit_adapter
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.refit import LayerFit, clamp_bounds, refit
from multigraft.converters.graft.tail import Tail, grafted_answers, renamed_inputs, tail_behind, tail_of
from multigraft.converters.job.effort import MEDIUM
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.frontier import Frontier, shapes_of, tensors_of
from multigraft.converters.network.network import (
    CutPoint,
    Network,
    node_macs,
    node_weights,
)
from multigraft.converters.network.thinned_network import ThinnedTail

REFIT_BYTES = 3 * 2**28
MIN_REFIT_FRAMES = 64
"""The refit uses fewer frames, but not fewer than these, where activations are so large that memory is short, and about
as many as :attr:`Effort.refit_macs` run, where networks are so large that time is."""

REFIT_RUNS = 4
"""What a refit costs in runs of the network on its frames: two are runs, the rest goes into solving."""


@dataclass(frozen=True)
class Candidate:
    """An evaluated graft.

    Attributes:
        join: Where and how.
        tail: The nodes of the target's own part.
        agreement: With the original outputs on the frames that choose; None where there were none to measure it on.
        own_weights: Parameters of the target's own part, adapter included.
        own_macs: Multiply-accumulates of it per frame.
        layers: How the refit of each layer went; empty without one.
        adapter_error: Relative squared error of the adapter, or None.
        on_branch: Whether the donor was grafted itself when this was evaluated: where it stands as it came, this does
            not fit it.
        thinned: What the own part lost without the trunk; None where it lost nothing, or went with the trunk.
    """

    join: Join
    tail: Tail
    agreement: Agreement | None
    own_weights: int
    own_macs: int
    layers: tuple[LayerFit, ...] = ()
    adapter_error: float | None = None
    on_branch: bool = False
    thinned: ThinnedTail | None = None

    def thinned_json(self) -> dict[str, Any]:
        """What the own part lost, as plain data; empty where nothing."""
        if self.thinned is None:
            return {}
        return {
            "weights": [self.thinned.weights, self.own_weights],
            "macs": [self.thinned.macs, self.own_macs],
            "layers": [vars(layer) for layer in self.thinned.layers],
        }

    @property
    def shown(self) -> Agreement:
        """The agreement, of a graft that was measured."""
        assert self.agreement is not None, "not measured"
        return self.agreement


def make_tail(
    join: Join, donor: Network, target: Network, frames: Frames, seed: int = 0, refit_macs: int = MEDIUM.refit_macs
) -> tuple[Tail, tuple[LayerFit, ...], Adapter | None]:
    """Graft on the given unlabeled frames; returns the target's own part, how its layers went, and its adapter."""
    if isinstance(join.target_point, Frontier) and join.method == "exact":
        common = lineage(donor, target).common
        assert common is not None
        return tail_behind(common, target), (), None
    cut, sources = join.target_point, tensors_of(join.donor_point)
    reads = dict(zip(tensors_of(cut), sources, strict=True))
    rest = target.nodes[cut.node_index + 1 :]
    if join.method in ("exact", "raw"):
        return tail_of(renamed_inputs(rest, reads), target.constants, sources, target), (), None
    frames = frames[: refit_frames(target, cut, refit_macs)]
    originals = target.run(target.prepare(frames), list(reads))
    given = donor.run(donor.prepare(frames), list(sources))
    pairs = {t: (originals[t].astype(np.float32), given[s].astype(np.float32)) for t, s in reads.items()}
    if join.method == "refit":
        solved = refit(target, pairs, seed=seed)
        constants = target.constants | solved.constants
        return tail_of(renamed_inputs(solved.nodes, reads), constants, sources, target), solved.layers, None
    (source,) = sources
    original, received = pairs[cut.name]
    adapter = fit_adapter(adapter_draft(join, target), received, original, source, seed)
    made = tail_of(adapter.nodes, adapter.constants, sources, target, (cut.name,))
    solved = refit(target, {cut.name: (original, made.run(received)[0])}, seed=seed)
    constants = target.constants | solved.constants | adapter.constants
    return tail_of((*adapter.nodes, *solved.nodes), constants, sources, target), solved.layers, adapter


def refit_frames(target: Network, cut: CutPoint, refit_macs: int) -> int:
    """How many frames the refit can hold: the largest tensor behind the cut four times (before and after a layer, in
    the original and in the grafted network)."""
    behind = (o for n in target.nodes[cut.node_index :] for o in n.output if o)
    largest = max(int(np.prod(target.shapes[o])) for o in behind)
    return max(MIN_REFIT_FRAMES, min(REFIT_BYTES // (4 * 4 * largest), refit_macs // max(target.macs, 1)))


def evaluate(
    join: Join,
    donor: Network,
    target: Network,
    evidence: Evidence,
    *,
    confidence: float = 0.95,
    tolerance: float | None = None,
    seed: int = 0,
    refit_macs: int = MEDIUM.refit_macs,
) -> Candidate:
    """Graft on the fit frames and measure agreement with the original network on the held-out ones."""
    tail, layers, adapter = make_tail(join, donor, target, evidence.fit, seed, refit_macs)
    return judge(join, tail, donor, target, evidence, confidence, tolerance, layers, adapter)


def judge(
    join: Join,
    tail: Tail,
    donor: Network,
    target: Network,
    evidence: Evidence,
    confidence: float,
    tolerance: float | None,
    layers: tuple[LayerFit, ...] = (),
    adapter: Adapter | None = None,
) -> Candidate:
    """Measure a tail on the frames that choose, and say what it costs."""
    measured = agreement_of(join, tail, donor, target, evidence, confidence, tolerance)
    return costed(join, tail, target, measured, layers, adapter)


def agreement_of(
    join: Join,
    tail: Tail,
    donor: Network,
    target: Network,
    evidence: Evidence,
    confidence: float,
    tolerance: float | None,
) -> Agreement:
    """Agreement of a tail with the original network on the held-out frames of ``evidence``."""
    return _compared(grafted_answers(donor, tail, evidence.accept), target, evidence, confidence, tolerance)


def whole_agreement(
    network: Network, original: Network, evidence: Evidence, confidence: float, tolerance: float | None
) -> Agreement:
    """Agreement of a whole network with the original one on the held-out frames of ``evidence``."""
    outputs = network.run(network.prepare(evidence.accept))
    return _compared([outputs[o] for o in network.outputs], original, evidence, confidence, tolerance)


def _compared(
    answers: list[npt.NDArray[Any]], target: Network, evidence: Evidence, confidence: float, tolerance: float | None
) -> Agreement:
    return agreement(
        target.kind,
        evidence.answers(target),
        answers,
        confidence=min(confidence, evidence.most_confidence),
        tolerance=tolerance,
        answer=target.answer,
        labels=target.labels,
        right=evidence.decoded(target),
    )


def costed(
    join: Join,
    tail: Tail,
    target: Network,
    measured: Agreement | None = None,
    layers: tuple[LayerFit, ...] = (),
    adapter: Adapter | None = None,
) -> Candidate:
    """The candidate with what its tail costs."""
    shapes = dict(target.shapes)
    shapes |= shapes_of(join.donor_point)
    for node in tail.nodes:
        if node.output[0] not in shapes and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]  # Channels put back in order.
    if adapter is not None:
        for node in adapter.nodes:
            shapes[node.output[0]] = join.target_point.shape
    return Candidate(
        join,
        tail,
        measured,
        sum(node_weights(n, tail.constants) for n in tail.nodes),
        sum(node_macs(n, tail.constants, shapes) for n in tail.nodes),
        layers,
        adapter.relative_error if adapter else None,
    )


def adapter_draft(join: Join, target: Network) -> AdapterDraft:
    """The nodes of the adapter that a join needs."""
    cut = join.target_point
    writer = target.nodes[cut.node_index]
    bounds = clamp_bounds([writer], target.constants) if writer.output[0] == cut.name else None
    return draft_adapter(
        join.donor_point.shape,
        cut.shape,
        kernel=3 if join.method == "adapter3" else 1,
        source=join.donor_point.name,
        cut=cut.name,
        prefix=f"{target.name}/adapter",
        clamp=writer if bounds else None,
        clamp_constants={n: target.constants[n] for n in writer.input if bounds and n in target.constants},
        bounds=bounds,
    )
