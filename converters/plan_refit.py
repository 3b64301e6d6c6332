"""``multigraft calibrate plan``: networks, and frames or statistics, to the refit bundle that goes to the device."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from multigraft.converters.build import graft, import_networks
from multigraft.converters.field.bundle_kinds import RefitBundle
from multigraft.converters.field.collected import Collected
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.graft.evidence import LoadFrames
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.propose import MIN_CKA, propose
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.settings.settings import Settings
from multigraft.converters.settings.thin_shares import ThinShares
from multigraft.errors import UsageError


def plan_refit(
    settings: Settings, load_frames: LoadFrames, work_dir: Path, report: Report = silent
) -> tuple[RefitBundle, tuple[Join, ...]]:
    """The refit bundle for a device, and where it shares.

    With frames, share points are those that :func:`multigraft.converters.build.graft` chooses; with statistics alone,
    the deepest alike ones.

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
    if any(settings.frames_of(task) for task in settings.tasks):
        # A device solves the layers of the networks as they came.
        whole = dataclasses.replace(settings, graft=dataclasses.replace(settings.graft, thin=ThinShares()))
        grafted = graft(whole, load_frames, report)
        networks, message = grafted.networks, grafted.outcome.message
        chosen = [c.join for c in grafted.outcome.chosen.grafts.values()]
        joins = tuple(j for j in chosen if j.method not in ("exact", "raw"))
    else:
        assert settings.statistics, "checked by the settings"
        collected = Collected.open(settings.statistics)
        networks = import_networks(settings, report)
        for sentence in collected.advice():
            report(sentence)
        similarity = collected.similarity(networks)
        joins = propose(networks, similarity, settings.graft.share)
        message = f"no cut points have a CKA of {MIN_CKA:g}"
    if not joins:
        raise UsageError(f"there is nothing to refit: {message}", "name a layer with --share TASK=LAYER")
    tolerances = {t.name: t.tolerance for t in settings.tasks}
    name = f"{settings.bundle.name}-refit"
    return make_refit_bundle(networks, joins, name, work_dir, report, tolerances=tolerances), joins
