"""What a build refuses, and warns of, before any long work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.evidence import Evidence, advice_on_answers, notes_on_proof
from multigraft.converters.job.progress import Report
from multigraft.converters.network.advice import advice_on_frames
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError
from multigraft.refit.refit_plan import Refit


def check_refinement(settings: Settings, refit: Refit | None) -> None:
    """Refuse what cannot be done before any long work."""
    if not (settings.graft.thin.is_none or (refit and refit.thins) or any(map(settings.frames_of, settings.tasks))):
        raise ConfigurationError(f"{settings.path}: thin needs frames", "name unlabeled frames, or thin nothing")
    if settings.graft.refine != "distill":
        return
    from multigraft.converters.distill.torch_tail import import_torch

    if not any(settings.frames_of(task) for task in settings.tasks):
        raise ConfigurationError(f'{settings.path}: refine = "distill" needs frames', "name unlabeled frames")
    import_torch()


def check_frames(
    settings: Settings, networks: Sequence[Network], evidence: Mapping[str, Evidence], report: Report
) -> None:
    """Prepare one frame for each network, so that a wrong shape is named before any long work, and warn of others."""
    for sentence in notes_on_proof(settings, networks, evidence):
        report(f"note: {sentence}")
    for task, network in zip(settings.tasks, networks, strict=True):
        if network.name in evidence:
            network.prepare([evidence[network.name].fit[0]])
            advice = advice_on_frames(task.name, task.preprocessing, evidence[network.name].fit)
            for sentence in (*advice, *advice_on_answers(network, evidence[network.name], task.tolerance)):
                report(f"warning: {sentence}")
