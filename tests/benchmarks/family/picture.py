"""What is kept of accuracy against each figure that could have told it, as scatter plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.family.measure import Point
from tests.benchmarks.family.poolings import DEGREE_TEXT, PREDICTORS, WAYS, correlation

COLORS = {"head": "#2a9d63", "block": "#0b6bcb", "all": "#7a4fbf", "independent": "#b3541e", "thinned": "#5f6b76"}
LABELS = DEGREE_TEXT | {"independent": "independent", "thinned": "thinned"}


def draw(points: Sequence[Point], path: Path) -> None:
    """A row for each way, a column for each predictor."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(WAYS), len(PREDICTORS), sharey="row")
    handles = {}
    for row, (way, text) in zip(grid, WAYS.items(), strict=True):
        of_way = [p for p in points if p.way == way]
        for axes, (predictor, name) in zip(row, PREDICTORS.items(), strict=True):
            for degree, color in COLORS.items():
                members = [p for p in of_way if (p.degree if way != "thinned" else way) == degree]
                if members:
                    x, y = ([getattr(p, field) for p in members] for field in (predictor, "kept"))
                    handles[LABELS[degree]] = axes.scatter(
                        x, [100 * v for v in y], s=14, color=color, alpha=0.7, linewidths=0
                    )
            r = correlation(of_way, predictor).pearson
            axes.set_title("" if r is None else f"{text}: r = {r:.2f}, n = {len(of_way)}", fontsize=9)
            axes.set_xlabel(name, fontsize=9)
            axes.grid(alpha=0.3)
        row[0].set_ylabel("% of its own accuracy", fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None, dpi=100)
