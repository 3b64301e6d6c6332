"""The budget against what was written: measured figures, never the estimates that chose the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multigraft.bundle.manifest import Manifest, Task
from multigraft.converters.graft.missed_budget import Miss
from multigraft.converters.quantising.layer_error import LayerError
from multigraft.converters.settings.settings import Budget


@dataclass(frozen=True)
class MeasuredLatency:
    """Median time of all tasks on one frame, one thread, no preprocessing, on the machine that builds.

    Attributes:
        median_us: Microseconds; None where it could not be measured.
        samples: Runs behind it.
        issue: Why it could not.
    """

    median_us: float | None
    samples: int | None
    issue: str = ""


def missed(
    budget: Budget,
    manifest: Manifest,
    latency: MeasuredLatency | None = None,
    layers: Sequence[LayerError] = (),
    least_agreements: Mapping[str, float] | None = None,
) -> tuple[Miss, ...]:
    """Every key of the budget that the bundle does not keep.

    Args:
        budget: As in the settings.
        manifest: Of the finished bundle: segments hold exact counts of the written file, tasks the agreement of the
            quantised bundle with the original networks. A task without it (a build without frames) misses nothing.
        latency: Needed where there is a limit to it.
        layers: Quantisation errors: they tell which of several outputs suffers.
        least_agreements: Task to what it has to show, where that is not what the budget asks of all.
    """
    misses = []
    for task in manifest.tasks:
        shown = task.fidelity.get("bundle_agreement")
        least = (least_agreements or {}).get(task.name, budget.min_agreement)
        if shown is not None and shown["lower_bound"] < least:
            figures = shown["lower_bound"], least, task.name, shown["frames"]
            misses.append(Miss("min_agreement", *figures, suffering(task, layers)))
    weights = sum(s.weights_bytes for s in manifest.segments)
    if budget.max_weights_bytes is not None and weights > budget.max_weights_bytes:
        misses.append(Miss("max_weights_bytes", weights, budget.max_weights_bytes))
    macs = sum(s.macs for s in manifest.segments)
    if budget.max_macs is not None and macs > budget.max_macs:
        misses.append(Miss("max_macs", macs, budget.max_macs))
    if budget.max_latency_us is not None and latency is not None:
        taken, limit = latency.median_us, budget.max_latency_us
        if taken is None or taken > limit:
            misses.append(Miss("max_latency_us", taken, limit, None, latency.samples, latency.issue))
    return tuple(misses)


def suffering(task: Task, layers: Sequence[LayerError]) -> str:
    """Which of a task's outputs, or of parts of one, int8 costs most; empty where there is one, or nothing known."""
    known = [layer for layer in layers if layer.tensor in task.outputs]
    if len(task.outputs) < 2 or not known:
        return ""
    worst = min(known, key=lambda layer: layer.sqnr_db)
    return f"of its outputs {worst.tensor} suffers most in int8, {worst.sqnr_db:.1f} dB SQNR"
