"""Exits within a build: planned on the joined graph, converted with it, tested on what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from multigraft.bundle.manifest import Task
from multigraft.converters.binary.network import with_binary_layers
from multigraft.converters.exits.calibrating import calibrate, with_policies
from multigraft.converters.exits.far import calibrate_far, made_up, plan_far, told_far
from multigraft.converters.exits.gates import calibrate_gate, plan_gate
from multigraft.converters.exits.inserting import Inserted, with_exits, without_exits
from multigraft.converters.exits.observing import observe
from multigraft.converters.exits.places import Place, Places
from multigraft.converters.exits.planning import Plan, plan_exits
from multigraft.converters.exits.refitting import with_own_heads
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.job.progress import Report
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.packing.finishing import Conversion, Finishing
from multigraft.converters.settings.gate_settings import GateSettings
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError
from multigraft.exits.policy import Exit
from multigraft.exits.thresholds import Asked, frames_told
from multigraft.tensors.preparation import Frame

TOLD_RATES = (0.5, 0.25)


@dataclass(frozen=True)
class PlannedExits:
    """Exits that wait for their thresholds.

    Attributes:
        multitask: The graph with them.
        inserted: Task to its exits, in running order.
    """

    multitask: MultiTaskModel
    inserted: Mapping[str, tuple[Inserted, ...]]


def planned_exits(
    settings: Settings, multitask: MultiTaskModel, evidence: Mapping[str, Evidence], report: Report
) -> PlannedExits:
    """The graph with exits or gates for all classifications that gain by them; as it is where none are asked for.

    Raises:
        ConfigurationError: A layer that was named is no place for an exit.
    """
    inserted: dict[str, tuple[Inserted, ...]] = {}
    gates = _gates(settings)
    if (settings.exits.place == "none" and not gates) or not evidence:
        return PlannedExits(multitask, inserted)
    for name in [task.name for task in multitask.tasks]:
        if name not in gates and settings.exits.place == "none":
            continue
        asked, what = _asked(settings, name), "gate" if name in gates else "exits"
        is_far = name in gates and gates[name].kind == "far"
        task = next(t for t in multitask.tasks if t.name == name)
        if reason := _unfit(task, multitask, name in gates):
            report(f"note: {name} gets no {what}: {reason}")
            continue
        fits, tests = _fitting(evidence[name]), _testing(evidence[name])
        least = f"{asked.least_frames:,} are the least" if is_far else frames_told(asked, TOLD_RATES)
        report(f"note: {what} of {name}: {len(fits):,} frames fit, {len(tests):,} others test; {least}")
        if len(tests) < asked.least_frames:
            report(f"warning: {name} gets no {what}: {len(tests):,} frames show no such promise; give more frames")
            continue
        places = Places(multitask)
        chosen = _chosen(settings, places, task)
        candidates, logits = observe(multitask, places, task, chosen, fits, report)
        if is_far:
            others, _ = observe(multitask, places, task, chosen, made_up(fits), report)
        elif logits.shape[1] < 2:
            report(f"note: {name} gets no {what}: it has a single output")
            continue
        elif len(np.unique(logits.argmax(axis=1))) == 1:
            said = f"all {len(fits):,} frames that fit are answered with one class, which a constant does as well"
            report(f"warning: {name} gets no {what}: {said}; give frames of several classes")
            continue

        def tell(done: int, total: int, name: str = name, what: str = what) -> None:
            report(f"{what} of {name}: judged {done} of {total} heads")

        macs = places.task_macs(task)
        if is_far:
            plan = plan_far(candidates, others, macs, asked, tell)
        elif name in gates:
            plan = plan_gate(candidates, logits, macs, asked, len(tests), tell)
        else:
            plan = plan_exits(candidates, logits, macs, asked, len(tests), settings.exits.most, tell)
        report(f"note: {told_far(name, plan) if is_far else _told(name, plan, what)}")
        if plan.exits:
            multitask, inserted[name] = with_exits(multitask, name, plan.exits)
    return PlannedExits(multitask, inserted)


def calibrated(
    settings: Settings, planned: PlannedExits, conversion: Conversion, evidence: Mapping[str, Evidence], report: Report
) -> Conversion:
    """The conversion whose bundle says when its exits are taken; those that keep no promise are taken out."""
    if not planned.inserted:
        return conversion
    exits: dict[str, list[Exit]] = {}
    refused: list[Inserted] = []
    conversion, own = _with_own_heads(settings, planned, conversion, evidence, report)
    for name, inserted in own.items():
        report(f"testing thresholds for the exits of {name}")
        frames, asked, audited = _testing(evidence[name]), _asked(settings, name), settings.exits.audited
        if inserted[0].planned.is_gate:
            gate = (
                calibrate_far(conversion.bundle, inserted[0], frames, asked, report)
                if inserted[0].planned.rule == "far"
                else calibrate_gate(conversion.bundle, inserted[0], frames, asked, audited, report)
            )
            exits[name], without = ([gate], []) if gate is not None else ([], list(inserted))
        else:
            exits[name], without = calibrate(conversion.bundle, inserted, frames, asked, audited, report)
        refused += without
        for one in exits[name]:
            report(f"note: {in_words(one)}")
    if refused and conversion.finishing is not None:
        conversion = _without(conversion, refused)
    return dataclasses.replace(conversion, bundle=with_policies(conversion.bundle, exits))


def in_words(found: Exit) -> str:
    """What an exit does and promises, for people."""
    promise = found.promise
    if found.is_far:
        return (
            f"{found.segment} calls {promise.taken:,} of {promise.frames:,} frames unknown: at most "
            f"{100 * promise.max_disagreement:g} % of frames like these at {100 * promise.confidence:g} %"
        )
    exiting = "frames that repeat the last answer" if found.is_gate else "frames that exit"
    which = exiting if promise.kind == "selective" else "all frames"
    return (
        f"{found.segment} is taken by {promise.taken:,} of {promise.reached:,} frames ({100 * promise.rate:.1f} %), "
        f"{promise.disagreed:,} of them answered otherwise: at most {100 * promise.max_disagreement:g} % of {which} "
        f"at {100 * promise.confidence:g} %"
    )


def _with_own_heads(
    settings: Settings, planned: PlannedExits, conversion: Conversion, evidence: Mapping[str, Evidence], report: Report
) -> tuple[Conversion, dict[str, tuple[Inserted, ...]]]:
    """Heads that suit the quantised network, and their exits."""
    finishing, own = conversion.finishing, dict(planned.inserted)
    for name, inserted in planned.inserted.items():
        fits, tests = _fitting(evidence[name]), len(_testing(evidence[name]))
        so_far = dataclasses.replace(conversion, finishing=finishing)
        finishing, own[name] = with_own_heads(so_far, inserted, fits, _asked(settings, name), tests, report)
    if finishing is None or finishing is conversion.finishing:
        return conversion, own
    return cut_anew(conversion, finishing, [one for heads in own.values() for one in heads]), own


def _without(conversion: Conversion, refused: list[Inserted]) -> Conversion:
    finishing = conversion.finishing
    assert finishing is not None
    fewer = without_exits(finishing.multitask, refused)
    return cut_anew(conversion, dataclasses.replace(finishing, multitask=fewer), refused)


def cut_anew(conversion: Conversion, finishing: Finishing, changed: Iterable[Inserted]) -> Conversion:
    """From the same quantised graph, but for heads; the errors of its layers are told already.

    Args:
        conversion: What was made of it before.
        finishing: Cuts it now.
        changed: Exits whose heads are others now, or gone: what is known of their errors holds no longer.
    """
    graph, prepared = finishing.quantised.graph, finishing.prepared
    if prepared.signs is not None:
        graph = with_binary_layers(graph, prepared.floating.boundaries.values())
    layers = conversion.layer_error.without([prepared.floating.boundaries[one.output] for one in changed])
    return dataclasses.replace(finishing(graph, layers=layers), binary=conversion.binary)


def _gates(settings: Settings) -> dict[str, GateSettings]:
    return {task.name: task.gate for task in settings.tasks if task.gate is not None}


def _asked(settings: Settings, task: str) -> Asked:
    gate, exits = _gates(settings).get(task), settings.exits
    if gate is None:
        return Asked(exits.promise, exits.max_disagreement, exits.confidence)
    return Asked("marginal" if gate.kind == "far" else exits.promise, gate.max_disagreement, exits.confidence)


def _fitting(evidence: Evidence) -> list[Frame]:
    """Frames that heads and places are chosen by: where others prove, those that chose between grafts as well."""
    return [*evidence.fit, *(evidence.accept if len(evidence.prove) else ())]


def _testing(evidence: Evidence) -> list[Frame]:
    """Frames that thresholds are tested on, which nothing about exits was chosen by."""
    return list(evidence.proof.accept)


def _unfit(task: Task, multitask: MultiTaskModel, is_gate: bool) -> str:
    if is_gate and task.on is not None:
        return "it looks at boxes, and a gate at whole frames"
    if task.kind != "classification":
        return f"it is a {task.kind}"
    if task.answer is not None or task.name in multitask.own:
        return "its answers are decoded"
    return "" if len(task.outputs) == 1 else "it has several outputs"


def _chosen(settings: Settings, places: Places, task: Task) -> list[Place]:
    found, gate = places.of(task), _gates(settings).get(task.name)
    layer = settings.exits.at.get(task.name) if gate is None else gate.at
    if layer is None:
        return found
    named = [place for place in found if layer in (place.tensor, place.tensor.split("/", 1)[-1])]
    if not named:
        have = ", ".join(place.tensor.split("/", 1)[-1] for place in found)
        where = f"exits.at.{task.name}" if gate is None else f"gate.at of task {task.name}"
        what = "an exit" if gate is None else "a gate"
        raise ConfigurationError(
            f"{settings.path}: {where} is {layer!r}, which is no place for {what}", f"choose from: {have}"
        )
    return named


def _told(task: str, plan: Plan, what: str) -> str:
    if not plan.exits:
        one, needs = ("exit", "") if what == "exits" else ("gate", ", with frames in the order in which they are given")
        return f"no {one} of {task} is expected to save anything under this promise{needs}"
    where = " and ".join(
        f"{one.place.tensor} ({one.place.macs:,} MACs before it, taken by {100 * one.expected_rate:.0f} %)"
        for one in plan.exits
    )
    does = "may exit" if what == "exits" else "may repeat its answer"
    return f"{task} {does} behind {where}, which is expected to save {100 * plan.saved:.0f} % of its MACs"
