"""The result as tables and sentences for a terminal; the command line draws them."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.converters.report import units
from multigraft.converters.report.summary import AgreementResult, Pair, Summary, TaskResult
from multigraft.converters.report.thinning_section import thinning_sentence


@dataclass(frozen=True)
class Table:
    """Title, headers and rows, each with one text per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which are aligned to the left, and not figures."""
        return column == 0 or self.columns[column] in ("network", "measured")


def tables(summary: Summary) -> list[Table]:
    """What is printed: tasks, then costs."""
    tasks = Table(
        f"{summary.name}: what the tasks keep",
        ("task", "network", "CKA", "original", "grafted", "bundle", "agreement", "bound"),
        tuple(_task(t) for t in summary.tasks),
    )
    energy = summary.energy or Pair()
    costs = Table(
        "What it costs" + (f" on {summary.machine.name}" if summary.machine else ""),
        ("all tasks, one frame", "separate", "bundle", "change", "measured"),
        (
            _cost("weights", summary.weights_bytes, units.byte_count, "exact"),
            _cost("multiply-accumulates", summary.macs, units.count, "exact"),
            _cost("latency", summary.latency_us, units.latency, "median"),
            _cost("memory (PSS)", summary.pss_kib, units.kibibytes, "median"),
            _cost("energy", energy, units.energy, "median"),
        ),
    )
    return [tasks, costs]


def remarks(summary: Summary) -> list[str]:
    """Sentences below the tables."""
    shares = [
        f"{task.name} shares the trunk of {task.donor or task.name} up to {task.share_point}."
        if task.branch is None
        else f"{task.name} shares the trunk of {task.donor}, and the branch of {task.branch} up to {task.share_point}."
        for task in summary.tasks
        if task.share_point
    ]
    shown = [a for t in summary.tasks if (a := _shown(t))]
    frames = " or ".join(sorted({f"{a.frames:,}" for a in shown}))
    confidences = " or ".join(sorted({units.percent(a.confidence, 0) for a in shown}))
    labelled = " or ".join(
        sorted({f"{t.accuracy.frames:,}" for t in summary.tasks if t.accuracy and t.accuracy.frames})
    )
    check = summary.segments
    equal = "equal the uncut model bit for bit" if check.mismatches == 0 else f"differ on {check.mismatches:,} inputs"
    return [
        *summary.notes,
        *(f"Not compared: {what}." for what in summary.not_compared),
        *(f"{task.name}: {task.note}." for task in summary.tasks if task.note),
        *shares,
        *(sentence for task in summary.tasks if (sentence := thinning_sentence(task))),
        *([f"original, grafted, bundle: accuracy on {labelled} labelled frames."] if labelled else []),
        *([f"agreement: with the original networks on {frames} held-out unlabeled frames;"] if shown else []),
        *([f"bound: its lower bound at {confidences} confidence."] if shown else []),
        f"Segments in turn {equal} ({check.inputs:,} inputs).",
        *([f"Energy was not measured: {summary.energy_reason}."] if summary.energy is None else []),
    ]


def _shown(task: TaskResult) -> AgreementResult | None:
    return task.int8_agreement or task.agreement


def _task(task: TaskResult) -> tuple[str, ...]:
    accuracy, agreement = task.accuracy, _shown(task)
    return (
        task.name,
        task.relation,
        f"{task.cka:.3f}" if task.cka is not None else units.MISSING,
        units.percent(accuracy.original if accuracy else None),
        units.percent(accuracy.grafted if accuracy else None),
        units.percent(accuracy.int8 if accuracy else None),
        units.percent(agreement.value) if agreement else "not measured",
        units.percent(agreement.lower_bound if agreement else None),
    )


def _cost(name: str, pair: Pair, show: units.Show, how: str) -> tuple[str, ...]:
    if pair.bundle is None:
        return (name, show(pair.separate), "not measured", "", "")
    measured = f"{how} of {pair.samples:,}" if pair.samples else "exact" if how == "exact" else how
    issue = "" if pair.valid else f", not valid: {pair.issue or 'disturbed'}"
    return (name, show(pair.separate), show(pair.bundle), units.saving(pair.separate, pair.bundle), measured + issue)
