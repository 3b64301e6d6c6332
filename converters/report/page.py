"""The report as one HTML page: no script, no external resource, light and dark."""

from __future__ import annotations

import base64
import os
import re
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.converters.report import pareto_plot, units
from multigraft.converters.report.segment_graph import segment_graph
from multigraft.converters.report.summary import AgreementResult, Pair, ParetoPoint, Summary, TaskResult
from multigraft.converters.report.thinning_section import thinning_section
from multigraft.errors import InputError
from multigraft.visible import visible

WORST_LAYERS = 12
"""Layers shown in the quantisation section; all stand in summary.json."""


def write_page(summary: Summary, path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write the report, whole or not at all.

    Args:
        summary: What to show.
        path: The .html file.
        folder: Where the pictures that the summary names lie; they are copied into the page.

    Raises:
        InputError: A picture is not there.
        MissingDependencyError: matplotlib is not installed.
    """
    files.write_bytes(path, visible(page(summary, Path(folder)), keep="\n\t").encode())


def page(summary: Summary, folder: Path) -> str:
    """The HTML text of the report."""
    style = resources.files(__package__).joinpath("report.css").read_text("utf-8")
    sections = [
        _tiles(summary),
        _graph(summary),
        _tasks(summary),
        thinning_section(summary),
        _pareto(summary),
        _similarity(summary, folder),
        _layers(summary),
        _measurement(summary),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(summary.name)} – multigraft report</title><style>\n{style}</style></head>\n<body>"
        f"{_header(summary)}\n<main>{chr(10).join(s for s in sections if s)}</main>\n{_FOOTER}</body></html>\n"
    )


def _header(summary: Summary) -> str:
    networks = "1 network" if len(summary.tasks) == 1 else f"{len(summary.tasks)} networks"
    warned = (f"Warning: {sentence}." for sentence in summary.warnings)
    sentences = (*summary.notes, *warned, *(f"Not compared: {what}." for what in summary.not_compared))
    notes = "".join(f'<p class="note">{escape(sentence)}</p>' for sentence in sentences)
    created = re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*", r"\1 \2 UTC", summary.created)
    meta = [created, summary.machine.name if summary.machine else "", f"multigraft {summary.version}".strip()]
    return (
        f'<header><p class="eyebrow">multigraft report</p><h1>{escape(summary.name)}</h1>'
        f'<p class="lead">{escape(_lead(summary, networks))}</p>'
        f'<p class="meta">{escape(" · ".join(m for m in meta if m))}</p>{notes}</header>'
    )


def _lead(summary: Summary, networks: str) -> str:
    sharing = [t for t in summary.tasks if t.share_point is not None]
    is_thinned = any(t.thinned for t in summary.tasks)
    alone = "thinned, nothing shared" if is_thinned else "in one bundle, nothing shared"
    trunk = "on one shared trunk" if sharing else alone
    costs = [
        f"{change[1:]} {'less' if change[0] == '−' else 'more'} {what}"
        for pair, what in ((summary.weights_bytes, "weights"), (summary.latency_us, "time per frame"))
        if pair.valid and (change := units.saving(pair.separate, pair.bundle))[:1] in ("−", "+")
    ]
    kept = [t.agreement.value for t in sharing if t.agreement]
    claim = " Grafted answers agree with the original networks' on at least {} of frames."
    return f"{networks} {trunk}{': ' + ', '.join(costs) if costs else ''}.{claim.format(_floor(kept)) if kept else ''}"


def _floor(values: list[float]) -> str:
    return units.percent(int(1000 * min(values)) / 1000)


def _tiles(summary: Summary) -> str:
    energy = summary.energy or Pair(issue=summary.energy_reason)
    tiles = [
        _tile("Weights", summary.weights_bytes, units.byte_count, "sum of all weight buffers"),
        _tile("MACs", summary.macs, units.count, "multiply-accumulates, all tasks on one frame"),
        _tile("Latency", summary.latency_us, units.latency, "all tasks on one frame, median"),
        _tile("Memory", summary.pss_kib, units.kibibytes, "PSS that the models add to a process at the peak"),
        _tile("Energy", energy, units.energy, "all tasks on one frame"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(title: str, pair: Pair, show: units.Show, what: str) -> str:
    change = units.saving(pair.separate, pair.bundle) if pair.valid else ""
    tone = "less" if change.startswith("−") else "more" if change.startswith("+") else "same"
    badge = f'<span class="saving {tone}">{change}</span>' if change else ""
    measured = pair.bundle is not None
    largest = max(pair.separate or 0, pair.bundle or 0)
    rows = "".join(
        f'<dt>{name}</dt><dd class="bar {name}"><i style="width:{100 * value / largest:.1f}%"></i></dd>'
        f"<dd>{show(value)}</dd>"
        for name, value in (("bundle", pair.bundle), ("separate", pair.separate))
        if value is not None and largest
    )
    samples = f", {pair.samples:,} runs" if pair.samples else ""
    said = escape(what + samples) if measured else ""
    issue = f'<small class="issue">{escape(_issue(pair))}</small>' if _issue(pair) else ""
    return (
        f'<div class="tile"><h3>{title}{badge}</h3><p class="figure{"" if measured else " none"}">'
        f"{show(pair.bundle) if measured else 'not measured'}</p>"
        f"{f'<dl>{rows}</dl>' if rows else ''}{f'<small>{said}</small>' if said else ''}{issue}</div>"
    )


def _issue(pair: Pair) -> str:
    if not pair.valid:
        return f"not valid: {pair.issue or 'disturbed'}"
    return pair.issue


def _graph(summary: Summary) -> str:
    drawing = segment_graph(summary)
    if not drawing:
        return ""
    return (
        "<section><h2>Segments</h2><p>Each box is one subgraph with its own signature in model.tflite. The trunk runs "
        "once per frame, then only the heads that were asked for. Coloured: shared by several tasks; the bar compares "
        f'weights.</p><figure class="scroll" tabindex="0" aria-label="Segment graph">{drawing}</figure></section>'
    )


def _tasks(summary: Summary) -> str:
    shown = [a for t in summary.tasks for a in (t.agreement, t.int8_agreement) if a]
    budget = summary.budget.min_agreement
    asked = [least for least in (budget, *(t.min_agreement for t in summary.tasks)) if least]
    floor = min(0.95, int(20 * min([a.lower_bound for a in shown] + asked, default=0.0)) / 20)
    rows = "".join(_task_row(task, floor, task.min_agreement or budget) for task in summary.tasks)
    confidences = " or ".join(sorted({units.percent(a.confidence, 0) for a in shown}))
    marks = " or ".join(units.percent(least) for least in sorted(set(asked)))
    mark = f"; the mark is the budget, {marks}" if marks else ""
    strip = f" Bounds hold at {confidences} confidence. Strips run from {units.percent(floor, 0)} to 100 %{mark}."
    return (
        "<section><h2>Tasks</h2><p>Accuracy needs labels and is shown where they were given. Agreement needs none: it "
        "is the share of held-out frames on which the answer equals the original network's, with a lower "
        f"bound.{strip if shown else ''}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Tasks"><table class="tasks"><thead><tr>'
        '<th scope="col">task</th><th scope="col">network</th><th scope="col">shares up to</th>'
        '<th scope="col" class="number">CKA there</th><th scope="col" class="number">accuracy<br>original</th>'
        '<th scope="col" class="number">accuracy<br>grafted</th><th scope="col" class="number">accuracy<br>bundle</th>'
        '<th scope="col">agreement<br>grafted</th><th scope="col">agreement<br>bundle</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _task_row(task: TaskResult, floor: float, budget: float | None) -> str:
    accuracy = task.accuracy
    frames = f"<small>{accuracy.frames:,} frames</small>" if accuracy and accuracy.frames else ""
    raw = f"<small>raw {units.percent(accuracy.raw)}</small>" if accuracy and accuracy.raw is not None else ""
    note = f"<small>{escape(task.note)}</small>" if task.note else ""
    point = f"<code>{escape(task.share_point)}</code>" if task.share_point else units.MISSING
    donor = f"<small>of {escape(task.branch or task.donor)}</small>" if task.donor else ""
    cka = f"{task.cka:.3f}" if task.cka is not None else units.MISSING
    return (
        f'<tr><th scope="row">{escape(task.name)}<small>{task.kind}</small>{note}</th>'
        f'<td><span class="badge {task.relation}">{task.relation}</span></td>'
        f'<td>{point}{donor}</td><td class="number">{cka}</td>'
        f'<td class="number">{units.percent(accuracy.original if accuracy else None)}{frames}</td>'
        f'<td class="number">{units.percent(accuracy.grafted if accuracy else None)}{raw}</td>'
        f'<td class="number">{units.percent(accuracy.int8 if accuracy else None)}</td>'
        f"<td>{_agreement(task.agreement, floor, budget)}</td>"
        f"<td>{_agreement(task.int8_agreement, floor, budget)}</td></tr>"
    )


def _agreement(agreement: AgreementResult | None, floor: float, budget: float | None) -> str:
    if agreement is None:
        return "not measured"

    def x(share: float) -> float:
        return 120 * max(0.0, (share - floor) / (1 - floor))

    mark = f'<line class="budget" x1="{x(budget):.1f}" x2="{x(budget):.1f}" y1="1" y2="15"/>' if budget else ""
    low, high = x(agreement.lower_bound), x(agreement.value)
    return (
        f"{units.percent(agreement.value, 2)}"
        '<svg class="strip" viewBox="0 0 120 16" aria-hidden="true">'
        '<rect class="rail" y="5" width="120" height="6" rx="3"/>'
        f'<rect class="range" x="{low:.1f}" y="5" width="{max(1.0, high - low):.1f}" height="6"/>{mark}'
        f'<circle class="value" cx="{min(115.0, max(5.0, high)):.1f}" cy="8" r="5"/></svg>'
        f"<small>≥ {units.percent(agreement.lower_bound, 2)}<br>{agreement.frames:,} frames</small>"
    )


def _pareto(summary: Summary) -> str:
    if not summary.pareto:
        return ""
    is_timed = any(p.latency_us is not None for p in summary.pareto)
    rows = "".join(_pareto_row(p, is_timed) for p in sorted(summary.pareto, key=lambda p: p.weights_bytes))
    latency = '<th scope="col" class="number">float32 time here</th>' if is_timed else ""
    axis = pareto_plot.axis_of(summary).label
    return (
        "<section><h2>What sharing costs and saves</h2><p>Each mark is one plan: who shares how deep. Up is better, "
        "left is cheaper. The line joins the plans that no other beats; the stem below a mark reaches down to the "
        "lower bound, which has to stay above the budget; a cross misses a budget; a triangle lies "
        "below the plot; the star is what the bundle holds.</p>"
        f'<figure class="scroll" tabindex="0" aria-label="Plot of agreement against {axis}; same figures as the table">'
        f"{pareto_plot.inline_svg(summary)}</figure>"
        f"<details><summary>All {len(summary.pareto)} plans as a table</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Plans"><table><thead><tr><th scope="col">plan</th>'
        '<th scope="col" class="number">weights</th><th scope="col" class="number">work per frame</th>'
        f"{latency}"
        '<th scope="col">agreement (lower bound) per task</th><th scope="col">budget</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details></section>"
    )


def _pareto_row(point: ParetoPoint, is_timed: bool) -> str:
    latency = f'<td class="number">{units.latency(point.latency_us)}</td>' if is_timed else ""
    figures = ", ".join(
        f"{escape(task)} {units.percent(value)} ({units.percent(point.lower_bound.get(task))})"
        for task, value in point.agreement.items()
    )
    kept = '<span class="badge good">kept</span>' if point.meets_budget else '<span class="badge bad">missed</span>'
    return (
        f'<tr{" class=chosen" if point.chosen else ""}><th scope="row">{escape(point.plan)}'
        f"{'<small>chosen</small>' if point.chosen else ''}</th>"
        f'<td class="number">{units.byte_count(point.weights_bytes)}</td>'
        f'<td class="number">{units.macs(point.macs)}</td>{latency}'
        f"<td>{figures or 'all networks as they were'}</td><td>{kept}</td></tr>"
    )


def _similarity(summary: Summary, folder: Path) -> str:
    pictures = [table for table in summary.similarity if table.heatmap]
    if not pictures:
        return ""
    figures = ""
    for table in pictures:
        best = max((value for row in table.unbiased for value in row), default=None)
        frames = f", {table.frames:,} frames" if table.frames else ""
        highest = f" Highest: {best:.3f}." if best is not None else ""
        figures += (
            f'<figure><img src="{_data_uri(folder / str(table.heatmap))}" alt="Heat map of unbiased CKA between the '
            f'cut points of {escape(table.first)} and {escape(table.second)}.{highest}">'
            f"<figcaption>{escape(table.first)} against {escape(table.second)}{frames}.{highest}</figcaption></figure>"
        )
    return (
        "<section><h2>Similarity</h2><p>Unbiased linear CKA between the representations at all cut points of two "
        "networks on unlabeled frames: 0 for unrelated, 1 for equal up to rotation and scale. It proposes where "
        "to share; agreement decides. All figures stand in summary.json.</p>"
        f'<div class="gallery">{figures}</div></section>'
    )


def _data_uri(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the picture {path} cannot be read: {error.strerror}", "write it before the report"
        ) from error
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix.lstrip(".")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _layers(summary: Summary) -> str:
    if not summary.layer_error:
        return ""
    worst = sorted(summary.layer_error, key=lambda layer: layer.own_sqnr_db)[:WORST_LAYERS]
    loudest = worst[0].own_sqnr_db
    rows = "".join(
        f"<dt><code>{escape(layer.tensor)}</code> <span class=muted>{escape(layer.operator)}</span></dt>"
        f'<dd class="track"><span class="bar{" worst" if layer is worst[0] else ""}">'
        f'<i style="width:{100 * 10 ** ((loudest - layer.own_sqnr_db) / 20):.1f}%"></i></span></dd>'
        f"<dd>{layer.own_sqnr_db:.1f} dB<small>{layer.sqnr_db:.1f} dB</small></dd>"
        for layer in worst
    )
    count = len(summary.layer_error)
    shown = f"The worst {len(worst)} of {count} layers" if count > len(worst) else f"All {count} layers"
    return (
        "<section><h2>Quantisation noise per layer</h2><p>Signal over quantisation noise if the layer alone is "
        "quantised, and below it with everything before it quantised too; 20 dB is noise of a tenth of the signal. "
        f"Longer bars are worse. {shown}; worst: <code>{escape(worst[0].tensor)}</code>. A layer that costs too much "
        f'can stay float32 with keep_float.</p><dl class="layers">{rows}</dl></section>'
    )


def _measurement(summary: Summary) -> str:
    check, machine = summary.segments, summary.machine
    equal = (
        f'<span class="badge good">equal</span> {check.inputs:,} inputs, 0 mismatches'
        if check.mismatches == 0
        else f'<span class="badge bad">different</span> {check.mismatches:,} of {check.inputs:,} inputs differ'
    )
    where = f" on {escape(', '.join(check.interpreters))}" if check.interpreters else ""
    facts: list[tuple[str, str]] = [("Segments against the uncut model, bit for bit", equal + where)]
    if machine:
        cores = f"{machine.cores} cores" if machine.cores else ""
        facts.append(("Machine", _joined(machine.name, machine.architecture, cores, machine.system)))
        threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads" if machine.threads else ""
        facts.append(("Interpreter", _joined(machine.interpreter, threads)))
    energy = summary.energy
    facts.append(
        ("Energy", escape(_issue(energy) or "measured") if energy else f"not measured: {escape(summary.energy_reason)}")
    )
    if summary.bundle_bytes is not None:
        facts.append(("Bundle file", f"{units.byte_count(summary.bundle_bytes)} ({summary.bundle_bytes:,} bytes)"))
    budgets = [
        f"agreement at least {units.percent(summary.budget.min_agreement)}" if summary.budget.min_agreement else "",
        f"weights at most {units.byte_count(summary.budget.max_weights_bytes)}"
        if summary.budget.max_weights_bytes
        else "",
        f"work at most {units.macs(summary.budget.max_macs)}" if summary.budget.max_macs else "",
        f"time at most {units.latency(summary.budget.max_latency_us)}" if summary.budget.max_latency_us else "",
    ]
    facts.append(("Budgets", ", ".join(b for b in budgets if b) or "none"))
    listed = "".join(f"<dt>{name}</dt><dd>{value or units.MISSING}</dd>" for name, value in facts)
    provenance = "".join(
        f"<dt>{escape(k)}</dt><dd><code>{escape(_flat(v))}</code></dd>" for k, v in summary.provenance.items()
    )
    sources = (
        f'<details><summary>Provenance</summary><dl class="facts">{provenance}</dl></details>' if provenance else ""
    )
    return f'<section><h2>How it was checked and measured</h2><dl class="facts">{listed}</dl>{sources}</section>'


def _joined(*parts: str) -> str:
    return escape(", ".join(p for p in parts if p))


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_flat(v)}" for k, v in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)


_FOOTER = (
    "<footer>Made by multigraft from summary.json. Latency, memory and energy hold for the machine named above and "
    "for no other; weights, work and agreement hold for the bundle anywhere.</footer>"
)
