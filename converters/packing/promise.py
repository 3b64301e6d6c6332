"""Agreement of a bundle with the original networks: on the frames that choose, and as promised, on those that prove."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.job.progress import Report
from multigraft.converters.network.network import Network
from multigraft.converters.packing.fallback import with_fallback
from multigraft.converters.packing.fidelity import BundleRunner, bundle_agreement
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.lowering import Asked, lowered
from multigraft.converters.quantising.lacking_agreement import lacking_agreement
from multigraft.converters.quantising.precisions import STATIC
from multigraft.converters.settings.settings import Settings


def measured(
    settings: Settings,
    bundle: Bundle,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    unchanged: Collection[str] = (),
    fallback: Bundle | None = None,
) -> dict[str, dict[str, Any]]:
    """Task to the agreement of the bundle with its original network on the held-out frames of ``evidence``.

    Args:
        settings: Confidence and tolerances.
        bundle: What is measured.
        networks: The originals, in the order of the settings.
        evidence: Task to its frames; nothing is measured without.
        unchanged: Tasks whose float network is the original one, which agrees with itself.
        fallback: What runs where ``bundle`` cannot, which is measured as well.
    """
    if not evidence:
        return {}
    runner, asked = BundleRunner(bundle), settings.budget.confidence
    other = BundleRunner(fallback) if fallback is not None else None
    figures = {}
    for network, task in zip(networks, settings.tasks, strict=True):
        own = evidence[network.name]
        confidence = min(asked, own.most_confidence)
        bundled = bundle_agreement(runner, network, own, confidence, task.tolerance).to_json()
        figures[network.name] = {"bundle_agreement": bundled}
        if other is not None:
            shown = bundle_agreement(other, network, own, confidence, task.tolerance)
            figures[network.name]["fallback_agreement"] = shown.to_json()
        if network.name in unchanged:
            answers = own.answers(network)
            itself = agreement(network.kind, answers, answers, confidence=confidence).to_json()
            figures[network.name]["grafted_agreement"] = itself
    return figures


def few_bits(
    settings: Settings, bundle: Bundle, networks: Sequence[Network], evidence: Mapping[str, Evidence]
) -> Asked:
    """What is asked of weights of few bits, in models of the segments of ``bundle``; the frames that choose judge."""

    def judge(model: bytes) -> dict[str, Agreement]:
        figures = measured(settings, Bundle(bundle.manifest, {MODEL: model}), networks, evidence)
        return {task: Agreement(**shown["bundle_agreement"]) for task, shown in figures.items()}

    return Asked(settings.convert.weights, settings.least_agreements, judge)


def with_few_bits(
    settings: Settings,
    conversion: Conversion,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    report: Report,
) -> Conversion:
    """``conversion`` with weights of as few bits as the settings ask for, and a fallback if they do."""
    changed = lowered(conversion, few_bits(settings, conversion.bundle, networks, evidence), report)
    return with_fallback(changed, settings.convert.fallback, report)


def may_rescue(settings: Settings) -> bool:
    """Whether layers may leave the precision asked for where agreement lacks."""
    return settings.convert.rescue != "none" and settings.convert.precision in STATIC


def lacking(settings: Settings, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Task to what its agreement in the bundle lacks; empty where all keep the budget."""
    lacks = {
        task: lacking_agreement(settings.least_agreements[task], Agreement(**shown["bundle_agreement"]))
        for task, shown in figures.items()
    }
    return {task: lack for task, lack in lacks.items() if lack > 0}


def proofs(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Task to its frames, those held out being the ones that no choice has looked at."""
    return {task: own.proof for task, own in evidence.items()}
