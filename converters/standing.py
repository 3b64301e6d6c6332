"""The quantised networks of a settings file: taken out before the others are grafted, put beside them afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import onnx

from multigraft.bundle.bundle import Bundle
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.sharing_plan import PlanningResult, SharingPlan
from multigraft.converters.importing.tflite.standing import is_quantised, load_standing
from multigraft.converters.job.progress import Report
from multigraft.converters.network.advice import check_labels
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.packing.fallback import stock_networks
from multigraft.converters.packing.fidelity import with_fidelity
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.standing import empty_bundle, standing_agreement, with_standing
from multigraft.converters.packing.verify import Verification
from multigraft.converters.quantising.improve import Improvement
from multigraft.converters.quantising.layer_error import LayerErrorReport
from multigraft.converters.quantising.safeguards import Safeguards, Safety
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError, InputError
from multigraft.runtime.self_test import measured_spread

MESSAGE = "every network is quantised already, and stands as it is"


def standing_networks(settings: Settings, report: Report) -> tuple[StandingNetwork, ...]:
    """The networks that compute with integers or bits.

    Raises:
        MultigraftError: A file is not as it has to be.
    """
    networks = []
    for task in settings.tasks:
        path = Path(task.model)
        if path.suffix.lower() != ".tflite" or not is_quantised(path):
            continue
        if task.constants:
            raise InputError(
                f"{path} computes with integers or bits, so that its inputs cannot be constants", "leave them out"
            )
        network = load_standing(path, task.name, task.preprocessing, task.kind, task.labels)
        report(f"note: {path.name} computes with integers or bits: it joins the bundle as it is, and shares no trunk")
        shapes = [network.graph.tensors[o].shape[1:] for o in network.graph.outputs]
        for sentence in check_labels(task.name, task.kind, task.labels, shapes):
            report(f"warning: {sentence}")
        networks.append(network)
    return tuple(networks)


def without_standing(settings: Settings, standing: tuple[StandingNetwork, ...]) -> Settings:
    """Settings of the other tasks, with what is left of the budget.

    Raises:
        ConfigurationError: One is to be thinned.
    """
    if not standing:
        return settings
    names = {n.name for n in standing}
    for name, share in settings.graft.thin.tasks.items():
        if name in names and share != "none":
            raise ConfigurationError(
                f"{settings.path}: graft.thin.{name} asks to thin a network that is quantised already",
                "name one that is not, or give its float network",
            )
    budget = dataclasses.replace(
        settings.budget,
        max_weights_bytes=_left(settings.budget.max_weights_bytes, sum(n.weights_bytes for n in standing)),
        max_macs=_left(settings.budget.max_macs, sum(n.macs for n in standing)),
    )
    return dataclasses.replace(settings, tasks=tuple(t for t in settings.tasks if t.name not in names), budget=budget)


def put_beside(
    settings: Settings, bundle: Bundle, standing: tuple[StandingNetwork, ...], evidence: Mapping[str, Evidence]
) -> Bundle:
    """``bundle`` with the networks that stand as they are, compared with their files.

    Raises:
        ConversionError: It answers otherwise than a file.
    """
    order = [t.name for t in settings.tasks]
    whole = with_standing(bundle, standing, order, {name: e.proof.accept for name, e in evidence.items()})
    tolerances = {t.name: t.tolerance for t in settings.tasks}
    figures = {}
    for network in standing:
        if network.name in evidence:
            frames = evidence[network.name].proof.accept
            same = standing_agreement(whole, network, frames, settings.budget.confidence, tolerances[network.name])
            figures[network.name] = {"grafted_agreement": same.to_json(), "bundle_agreement": same.to_json()}
    return with_fidelity(whole, figures)


def with_fallback(
    settings: Settings,
    bundle: Bundle,
    converted: Conversion,
    standing: tuple[StandingNetwork, ...],
    evidence: Mapping[str, Evidence],
) -> Bundle:
    """``bundle`` with its fallback, if it needs one.

    Args:
        settings: Of the build.
        bundle: The networks that stand as they are lie in it already.
        converted: The other networks.
        standing: Those that stand as they are; with bits, they stand in the fallback in stock operators.
        evidence: Frames of all tasks.

    Raises:
        ConversionError: A network answers otherwise in the fallback.
    """
    is_free = settings.convert.fallback and not any(task.exits for task in bundle.manifest.tasks)
    stock = stock_networks(standing, measured_spread(bundle.manifest, "rms")) if is_free else None
    if converted.fallback is None and stock is None:
        return bundle
    first = converted.fallback or converted.bundle
    return bundle.with_fallback(put_beside(settings, first, stock or standing, evidence) if standing else first)


def nothing_planned() -> tuple[PlanningResult, MultiTaskModel]:
    """What grafting comes to where there is nothing to graft."""
    return PlanningResult(SharingPlan({}, 0, 0), (), (), (), MESSAGE), MultiTaskModel(onnx.ModelProto(), {}, (), ())


def nothing_converted(name: str) -> Conversion:
    """A conversion of no network."""
    return Conversion(
        bundle=empty_bundle(name, {"plan": MESSAGE}),
        uncut_model=b"",
        float_model=b"",
        layer_error=LayerErrorReport((), 0),
        verification=Verification(0, 0, {}),
        agreement={},
        safety=Safety(Improvement(), None, (), Safeguards()),
    )


def only_standing(conversion: Conversion, bundle: Bundle) -> Conversion:
    """A conversion of no network, with the finished bundle and what was compared in it."""
    checked = list(bundle.manifest.provenance["as_it_is"].values())
    backends = {name: version for one in checked for name, version in one["backends"].items()}
    refused = {name: why for one in checked for name, why in one["refused"].items()}
    verification = Verification(min(one["inputs"] for one in checked), 0, backends, refused)
    return dataclasses.replace(conversion, bundle=bundle, uncut_model=bundle.model, verification=verification)


def standing_conversion(network: StandingNetwork, name: str, frames: Frames, has_fallback: bool = True) -> Conversion:
    """A bundle of one quantised network, compared with its file on random inputs and ``frames``.

    A network with bits gets a fallback in stock operators, if ``has_fallback``.

    Raises:
        ConversionError: It answers otherwise than the file.
    """
    conversion = nothing_converted(name)
    given = {network.name: frames}
    bundle = with_standing(conversion.bundle, [network], [network.name], given)
    stock = stock_networks([network], measured_spread(bundle.manifest, "rms")) if has_fallback else None
    fallback = None if stock is None else with_standing(conversion.bundle, stock, [network.name], given)
    return dataclasses.replace(only_standing(conversion, bundle), fallback=fallback)


def alone(network: Network) -> MultiTaskModel:
    """One network as it is, for conversion."""
    return assemble((network,), SharingPlan({}, network.weights, network.macs))


def _left(limit: int | None, taken: int) -> int | None:
    return None if limit is None else max(limit - taken, 0)
