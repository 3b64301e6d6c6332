"""``multigraft calibrate plan``: networks, and frames or statistics, to the refit bundle that goes to the device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from multigraft.converters.build import Grafted, graft, import_networks
from multigraft.converters.field.bundle_kinds import RefitBundle
from multigraft.converters.field.collected import Collected
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.thinned_order import FieldThinning, first_tensor
from multigraft.converters.graft.evidence import LoadFrames
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.propose import MIN_CKA, propose, solved_on_device
from multigraft.converters.job.effort import EFFORTS
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.settings.settings import Settings
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.converters.thinning.allot import allot
from multigraft.converters.thinning.survey import survey
from multigraft.errors import UsageError


@dataclass(frozen=True)
class PlannedRefit:
    """What goes to the device.

    Attributes:
        bundle: The refit bundle.
        joins: Where it shares.
        thinnings: Networks that stand alone with fewer channels.
    """

    bundle: RefitBundle
    joins: tuple[Join, ...]
    thinnings: tuple[FieldThinning, ...]


def plan_refit(settings: Settings, load_frames: LoadFrames, work_dir: Path, report: Report = silent) -> PlannedRefit:
    """The refit bundle for a device, where it shares, and what it thins.

    With frames, share points are those that :func:`multigraft.converters.build.graft` chooses, and networks that stand
    alone lose the channels that these frames need least. With statistics alone, share points are the deepest alike
    ones, and nothing is thinned.

    Args:
        settings: As read from multigraft.toml.
        load_frames: Opens a frame source.
        work_dir: An existing folder for intermediate files.
        report: Takes a line for each step.

    Raises:
        UsageError: Nothing is to be refitted.
        MultigraftError: As :func:`multigraft.converters.build.graft`.
    """
    joins: tuple[Join, ...]
    thinnings: tuple[FieldThinning, ...] = ()
    if any(settings.frames_of(task) for task in settings.tasks):
        # What shares a trunk is solved as it came.
        whole = dataclasses.replace(settings, graft=dataclasses.replace(settings.graft, thin=ThinShares()))
        grafted = graft(whole, load_frames, report)
        networks, message = grafted.networks, grafted.outcome.message
        joins = solved_on_device(grafted.outcome.chosen, report)
        thinnings = _thinnings(settings, grafted, report)
    else:
        assert settings.statistics, "checked by the settings"
        collected = Collected.open(settings.statistics)
        networks = import_networks(settings, report)
        for sentence in collected.advice():
            report(sentence)
        if not settings.graft.thin.is_none:
            report("note: nothing is thinned: channels are chosen on frames, and there are none here")
        similarity = collected.similarity(networks)
        joins = propose(networks, similarity, settings.graft.share)
        message = f"no cut points have a CKA of {MIN_CKA:g}"
    if not joins and not thinnings:
        raise UsageError(
            f"there is nothing to refit: {message}",
            "name a layer with --share TASK=LAYER, or a share of a network with thin = { TASK = 0.5 }",
        )
    tolerances = {t.name: t.tolerance for t in settings.tasks}
    name = f"{settings.bundle.name}-refit"
    made = make_refit_bundle(networks, joins, name, work_dir, report, thinnings=thinnings, tolerances=tolerances)
    return PlannedRefit(made, joins, thinnings)


def _thinnings(settings: Settings, grafted: Grafted, report: Report) -> tuple[FieldThinning, ...]:
    """The networks that stand alone and whose share is a number, each with the channels that its frames say."""
    grafts, seed = grafted.outcome.chosen.grafts, settings.graft.seed
    tied = {*grafts, *(g.join.donor for g in grafts.values())}
    probed_macs = EFFORTS[settings.graft.effort].probed_macs
    made = []
    for network in grafted.networks:
        share = settings.graft.thin.of(network.name)
        if share == "none":
            continue
        has_frames = network.name in grafted.evidence
        if not has_frames or isinstance(share, str) or network.name in tied:
            why = "its share is no number" if isinstance(share, str) else "it shares a trunk"
            why = why if has_frames else "its channels are chosen on frames, and it has none"
            report(f"note: {network.name} is not thinned on the device: {why}")
            continue
        found = survey(network, grafted.evidence[network.name].fit, seed, report, probed_macs=probed_macs)
        chosen = found.chosen(allot(found, share, grafted.outcome.limits.macs_in_cost))
        kept = {
            first_tensor(network, group): tuple(some.tolist())
            for group, some in zip(found.groups, chosen, strict=True)
            if len(some) < group.count
        }
        if kept:
            made.append(FieldThinning(network, kept))
    return tuple(made)
