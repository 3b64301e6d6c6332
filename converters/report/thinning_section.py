"""The report's section on networks with fewer channels, and the sentence on them for a terminal."""

from __future__ import annotations

from html import escape

from multigraft.converters.report import units
from multigraft.converters.report.summary import Summary, TaskResult, ThinningResult


def thinning_sentence(task: TaskResult) -> str:
    """What was thinned how far; nothing where nothing was."""
    thinned = task.thinned
    if thinned is None:
        return ""
    what = f"The own part of {task.name}" if task.donor else task.name
    return (
        f"{what} was thinned: {units.count(thinned.weights)} of {units.count(thinned.original_weights)} weights, "
        f"{units.count(thinned.macs)} of {units.count(thinned.original_macs)} MACs."
    )


def thinning_section(summary: Summary) -> str:
    """HTML; nothing where no network was thinned."""
    tables = "".join(_table(task, task.thinned) for task in summary.tasks if task.thinned)
    if not tables:
        return ""
    return (
        "<section><h2>Thinned networks</h2><p>Channels that others can stand in for were taken out, and every layer "
        "was solved anew on unlabeled frames. The error is what a layer gives now against what it gave originally, "
        f"squared, over the variance of the latter.</p>{tables}</section>"
    )


def _table(task: TaskResult, thinned: ThinningResult) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(layer.name)}</code></th><td class="number">{layer.channels}</td>'
        f'<td class="number">{layer.kept}</td><td class="number">{units.percent(layer.relative_error)}</td></tr>'
        for layer in thinned.layers
    )
    agreement = task.agreement
    kept = f" Agreement is {units.percent(agreement.value)} on {agreement.frames:,} frames." if agreement else ""
    return (
        f"<p>{escape(thinning_sentence(task) + kept)}</p>"
        f"<details><summary>Channels of {escape(task.name)}, layer by layer</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Channels"><table><thead><tr>'
        '<th scope="col">layer</th><th scope="col" class="number">channels before</th>'
        '<th scope="col" class="number">after</th><th scope="col" class="number">error</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
