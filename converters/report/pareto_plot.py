"""The Pareto front as a picture: what each plan costs against the weakest task's agreement."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from multigraft import files
from multigraft.converters.report.summary import ParetoPoint, Summary
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair

INK, MUTED, GRID, CHOSEN, OTHER, REFUSED = "#1b1f24", "#5b6470", "#d9dee4", "#0b6bcb", "#5b8fc7", "#b3541e"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", CHOSEN: "accent", OTHER: "accent-soft", REFUSED: "warn"}


@dataclass(frozen=True)
class Axis:
    """What plans are held against agreement by.

    Attributes:
        label: For people.
        of: The figure of a point, or None.
        units: Units with what one of them is in the figure's own, the largest first.
    """

    label: str
    of: Callable[[ParetoPoint], float | None]
    units: tuple[tuple[str, float], ...]


_WEIGHTS = Axis("weights of the bundle", lambda p: p.weights_bytes, (("MB", 1e6), ("kB", 1e3)))
_AXES = {
    "macs": Axis(
        "multiply-accumulates per frame", lambda p: p.macs, (("billions", 1e9), ("millions", 1e6), ("thousands", 1e3))
    ),
    "latency": Axis("time per frame in float32 here", lambda p: p.latency_us, (("ms", 1e3), ("µs", 1.0))),
}


def axis_of(summary: Summary) -> Axis:
    """That of what the budget prefers; weights where a plan lacks the figure."""
    axis = _AXES.get(summary.budget.prefer, _WEIGHTS)
    return axis if all(axis.of(p) is not None for p in summary.pareto) else _WEIGHTS


def weakest(figures: dict[str, float]) -> float:
    """The smallest figure over all tasks; a task that keeps its own network has none and agrees by construction."""
    return min(figures.values(), default=1.0)


def front(points: tuple[ParetoPoint, ...], axis: Axis = _WEIGHTS) -> list[ParetoPoint]:
    """The points that no other point beats in both what ``axis`` shows and agreement, by the former."""
    ordered = sorted(points, key=lambda p: (axis.of(p) or 0, -weakest(p.agreement)))
    best, kept = -1.0, []
    for point in ordered:
        value = weakest(point.agreement)
        if value > best:
            best = value
            kept.append(point)
    return kept


def write_png(summary: Summary, path: str | os.PathLike[str]) -> None:
    """Write the plot as PNG, whole or not at all.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    files.write_bytes(path, _saved(summary, format="png", dpi=160, facecolor="white"))


def inline_svg(summary: Summary) -> str:
    """The same plot as SVG whose colours are the page's CSS variables."""
    svg = _saved(summary, format="svg", transparent=True, metadata={"Date": None, "Creator": None}).decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg class="plot" viewBox="\1" aria-hidden="true">', svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    return svg


def _saved(summary: Summary, **how: Any) -> bytes:
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except Exception as error:
        raise MissingDependencyError(
            f"the Pareto plot needs matplotlib, which is {how_missing(error)}", repair(error, install_extra("convert"))
        ) from error
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "multigraft",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GRID,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    buffer = io.BytesIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7.6, 3.9), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure.add_subplot(), summary)
        figure.savefig(buffer, **how)
    return buffer.getvalue()


def _draw(axes: Any, summary: Summary) -> None:
    axis = axis_of(summary)
    most = max(axis.of(p) or 0 for p in summary.pareto)
    unit, scale = next((u for u in axis.units if most >= u[1]), axis.units[-1])

    def place(point: ParetoPoint) -> tuple[float, float]:
        return (axis.of(point) or 0) / scale, 100 * weakest(point.agreement)

    floor = _floor(summary)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    kept = [place(p) for p in front(summary.pareto, axis)]
    axes.plot([x for x, _ in kept], [y for _, y in kept], color=OTHER, lw=1.4)
    for point in summary.pareto:
        _mark(axes, point, *place(point), floor)
    # Where tasks have to keep bounds of their own, no one line parts the plans.
    minimum = None if any(t.min_agreement for t in summary.tasks) else summary.budget.min_agreement
    if minimum is not None:
        axes.axhline(100 * minimum, color=REFUSED, lw=1, ls=(0, (4, 3)))
        _write(
            axes,
            f"budget {100 * minimum:g} %",
            axes.get_yaxis_transform(),
            (1, 100 * minimum),
            (-2, 3),
            REFUSED,
            "right",
        )
    axes.margins(0.06)
    lowest = min(max(100 * weakest(p.lower_bound or p.agreement), floor) for p in summary.pareto)
    lowest = min(lowest, 100 * minimum) if minimum is not None else lowest
    axes.set_ylim(lowest - 0.08 * (100 - lowest) - 0.05, 100 + 0.16 * (100 - lowest) + 0.05)
    axes.set_xlabel(f"{axis.label}, {unit}")
    axes.set_ylabel("agreement of the weakest task, %")


def _floor(summary: Summary) -> float:
    """Agreement in percent below which points are moved up to the edge: they are no candidates, and would flatten
    the part of the plot where the choice is made."""
    chosen = [weakest(p.lower_bound) for p in summary.pareto if p.chosen]
    matters = min(v for v in (*chosen, summary.budget.min_agreement, 0.98) if v is not None)
    return max(0.0, 100 - 400 * (1 - matters))


def _mark(axes: Any, point: ParetoPoint, x: float, y: float, floor: float) -> None:
    color = CHOSEN if point.chosen else OTHER if point.meets_budget else REFUSED
    if y < floor:
        axes.plot([x], [floor], linestyle="", marker="v", ms=7, color=color, zorder=3)
        _write(axes, f"{y:.0f} %", axes.transData, (x, floor), (7, -3), color, "left")
        return
    if point.lower_bound:
        axes.plot([x, x], [max(100 * weakest(point.lower_bound), floor), y], color=color, lw=1.1, solid_capstyle="butt")
    marker = "*" if point.chosen else "o" if point.meets_budget else "x"
    axes.plot([x], [y], linestyle="", marker=marker, ms=15 if point.chosen else 6, color=color, zorder=3)
    if point.chosen:
        _write(axes, "chosen", axes.transData, (x, y), (0, 11), color, "center", fontweight="bold")


def _write(
    axes: Any,
    text: str,
    where: Any,
    at: tuple[float, float],
    shift: tuple[float, float],
    color: str,
    side: str,
    **how: Any,
) -> None:
    axes.annotate(
        text, at, xycoords=where, xytext=shift, textcoords="offset points", color=color, ha=side, fontsize=9, **how
    )
