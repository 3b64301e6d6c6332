"""What a generated project costs: memory map of the arena, constants and work per step, as JSON, text or a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multigraft.errors import InputError, MissingDependencyError
from multigraft.firmware_gen.project.project import Project, ProjectLearning
from multigraft.installing import how_missing, install_extra, repair
from multigraft.reading import read_json
from multigraft.visible import drawn, visible

REPORT = "report.json"
"""Name of the report in a project's folder."""


def report_of(project: Project, board: str) -> dict[str, Any]:
    """The report as plain data.

    ``ram_bytes`` is the arena: inputs, outputs, everything between, and scratch. ``ram_bound_bytes`` is what no plan
    can do without; the plan is optimal where both are equal. Over several regions both hold for the first of them,
    the others taking what they can, plus what lies in the others. ``constant_bytes`` is the weights' and tables'
    share of flash. ``macs`` and ``weights_bytes`` (biases included) are of what is generated; before exact pruning they
    were what the fields ``..._before_pruning`` say. ``exits`` are early exits: the share of the frames that reached it
    and took it when its threshold was tested, and the ``macs`` of a frame whose task leaves there. ``learning`` is what
    the board may learn: ``ram_bytes`` beside the arena, ``solving_bytes`` of it. ``flash_bytes`` is the whole image,
    None before it is built; ``instructions`` are added by who counts them.
    """
    shares = (project.plan.size, *project.plan.elsewhere)
    taken = [k for k, share in enumerate(shares) if share]
    used = {0: project.regions[0].name} | {k: r.name for k, r in zip(taken, project.regions, strict=False)}
    return {
        "model": project.name,
        "board": board,
        "core": project.core.name,
        "ram_bytes": project.arena_bytes,
        "ram_bound_bytes": project.plan.bound + sum(project.plan.elsewhere),
        "regions": [{"name": r.name, "bytes": r.size, "capacity_bytes": r.capacity} for r in project.regions],
        "constant_bytes": project.constant_bytes,
        "flash_bytes": None,
        "macs": project.left.macs,
        "weights_bytes": project.left.weights_bytes,
        "macs_before_pruning": project.given.macs,
        "weights_bytes_before_pruning": project.given.weights_bytes,
        "tasks": [t.name for t in project.tasks],
        "buffers": [
            {
                "name": name,
                "region": used[project.plan.regions.get(name, 0)],
                "offset": project.plan.offsets[name],
                "bytes": size,
                "first_step": first,
                "last_step": last,
            }
            for name, (size, first, last) in sorted(project.lifetimes.items(), key=lambda item: item[1][1:])
        ],
        "steps": [
            {
                "operator": s.operator,
                "output": s.output,
                "tasks": [t.name for bit, t in enumerate(project.tasks) if s.tasks >> bit & 1],
                "macs": s.macs,
                "constant_bytes": s.constant_bytes,
                "scratch_bytes": s.scratch_bytes,
            }
            for s in project.steps
        ],
        "exits": [
            {
                "name": e.name,
                "task": project.tasks[e.task].name,
                "number": e.number,
                "said": project.outputs[e.said].name,
                "rate": e.rate,
                "macs": e.macs,
            }
            for e in project.exits
        ],
        "learning": None if project.learning is None else _learning(project, project.learning),
    }


def _learning(project: Project, learning: ProjectLearning) -> dict[str, Any]:
    return {**dataclasses.asdict(learning), "task": project.tasks[learning.task].name}


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a project's folder.

    Raises:
        InputError: The folder has none, or it is damaged or of another version.
    """
    path = folder / REPORT
    try:
        report: dict[str, Any] = read_json(path)
        if not {"model", "ram_bytes", "regions", "buffers", "steps", "macs_before_pruning"} <= set(report):
            raise ValueError("fields are missing")
        if not all({"name", "task", "number", "said", "rate", "macs"} <= set(e) for e in report.get("exits", [])):
            raise ValueError("fields of exits are missing")
    except InputError as error:
        raise InputError(error.problem, "name a folder that `multigraft firmware` wrote") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is no report of this version ({error})", "generate the project again") from error
    return report


def report_text(report: Mapping[str, Any]) -> str:
    """The report for people: totals, steps, and where each buffer lies."""
    gap = report["ram_bytes"] - report["ram_bound_bytes"]
    proof = "proven optimal" if gap == 0 else f"at most {gap} bytes above the optimum"
    regions = report["regions"]
    lines = [
        f"{report['model']} on {report['board']} ({report['core']}), tasks: {', '.join(report['tasks'])}",
        f"RAM of the model   {report['ram_bytes']:>10} bytes, {proof}",
        *(f"  of it in {r['name']:<8} {r['bytes']:>10} of {r['capacity_bytes']}" for r in regions if len(regions) > 1),
        f"constants in flash {report['constant_bytes']:>10} bytes",
    ]
    lines += [_pruned(report, "weights", "weights_bytes", "bytes"), _pruned(report, "multiply-adds", "macs", "MACs")]
    if report.get("flash_bytes") is not None:
        lines.append(f"image in flash     {report['flash_bytes']:>10} bytes: code, constants and initial data")
    counted = "instructions" in report
    if counted:
        least, most = report["instructions_least"], report["instructions"]
        cases = f"on {report['instruction_cases']} golden cases" + (f", {least} at least" if least < most else "")
        lines.append(f"instructions       {most:>10} per inference of all tasks, counted {cases}")
    lines += [_learning_line(report["learning"])] if report.get("learning") else []
    lines += [_exit_line(e, report["macs"]) for e in report.get("exits", ())]
    lines += [_way_line(way) for way in report.get("ways", ())]
    head = f"{'step':>4}  {'operator':<20} {'MACs':>10} {'constants':>10} {'scratch':>8}"
    lines += ["", head + (f" {'instructions':>12}" if counted else "") + "  tasks"]
    for number, s in enumerate(report["steps"]):
        tasks = "all" if len(s["tasks"]) == len(report["tasks"]) else ", ".join(s["tasks"])
        counts = f"{s['macs']:>10} {s['constant_bytes']:>10} {s['scratch_bytes']:>8}"
        counts += f" {s['instructions']:>12}" if counted else ""
        lines.append(f"{number:>4}  {s['operator']:<20} {counts}  {tasks}")
    lines += ["", f"{'offset':>8} {'bytes':>8}  steps      buffer"]
    for b in report["buffers"]:
        last = len(report["steps"]) - 1
        span = "after all" if b["first_step"] > last + 1 else f"{max(b['first_step'], 0)}-{min(b['last_step'], last)}"
        where = f"{b['region']}: " if len(regions) > 1 else ""
        lines.append(f"{b['offset']:>8} {b['bytes']:>8}  {span:<9}  {where}{b['name']}")
    return "\n".join(map(visible, lines))


def _learning_line(found: Mapping[str, Any]) -> str:
    more = f"{found['solving_bytes']} of the model's while it solves"
    what = f"{found['classes']} classes of {found['features']} features"
    known = f", known frames: {found['known_frames']}" if found["known_frames"] else ""
    return f"RAM of learning    {found['ram_bytes']:>10} bytes, and {more}: {found['task']}, {what}{known}"


def _exit_line(found: Mapping[str, Any], macs: int) -> str:
    where = f"where {found['task']} leaves by {found['name']}"
    rate = f"{100 * found['rate']:.1f} % of the frames that reached it when it was tested"
    return f"exit               {found['macs']:>10} MACs of {macs} {where}: {rate}"


def _way_line(way: Mapping[str, Any]) -> str:
    left = ", ".join(f"{task} by {name}" for task, name in way["left"].items())
    most, least = way["instructions"], way["instructions_least"]
    cases = f"counted on {way['cases']} golden cases" + (f", {least} at least" if least < most else "")
    return f"instructions       {most:>10} where {f'{left} leaves' if left else 'no task leaves'}, {cases}"


def _pruned(report: Mapping[str, Any], title: str, field: str, unit: str) -> str:
    before, after = report[f"{field}_before_pruning"], report[field]
    note = f", {before} before exact pruning" if after < before else ", nothing to prune"
    return f"{title:<18} {after:>10} {unit}{note}"


def draw_report(report: Mapping[str, Any], target: Path) -> None:
    """The RAM map as a picture: steps to the right, bytes upwards.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: The target's suffix is no picture format.
    """
    try:
        from matplotlib.figure import Figure
    except Exception as error:
        raise MissingDependencyError(
            f"drawing the RAM map needs matplotlib, which is {how_missing(error)}",
            repair(error, install_extra("convert")),
        ) from error
    count = len(report["steps"])
    regions = report["regions"]
    figure = Figure(figsize=(max(6.0, 0.6 * count), 5 * len(regions) + 2), layout="constrained")
    plots = figure.subplots(len(regions), squeeze=False)[:, 0]
    plot_of = {region["name"]: axes for region, axes in zip(regions, plots, strict=True)}
    size_of = {region["name"]: region["bytes"] for region in regions}
    for number, b in enumerate(report["buffers"]):
        left, right = max(b["first_step"], -1), min(b["last_step"], count)
        plot_of[b["region"]].bar(
            left - 0.5, b["bytes"], width=right - left + 1, bottom=b["offset"], align="edge", alpha=0.7,
            color=f"C{number % 10}", edgecolor="black", linewidth=0.5,
        )  # fmt: skip
        # Thin bars have no room for a name.
        if b["bytes"] >= 0.04 * size_of[b["region"]]:
            short = b["name"].rstrip("/").rpartition("/")[2][: 8 * (right - left + 1)]
            middle = ((left + right) / 2, b["offset"] + b["bytes"] / 2)
            plot_of[b["region"]].text(*middle, f"{drawn(short)}\n{b['bytes']}", ha="center", va="center", fontsize=6)
    for region, axes in zip(regions, plots, strict=True):
        axes.set(
            xlabel="step",
            ylabel="bytes",
            title=f"{drawn(report['model'])}: {region['bytes']} bytes of {region['name']}",
        )
        labels = [f"{number} {step['operator']}" for number, step in enumerate(report["steps"])]
        axes.set_xticks(range(count), labels, rotation=90, fontsize=7)
    try:
        figure.savefig(target)
    except ValueError as error:
        raise InputError(f"{target} is no picture ({error})", "name a .png or .svg file") from error
