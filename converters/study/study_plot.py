"""The study as a picture: labelled accuracy after sharing against each figure that could have predicted it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.converters.study.study import PREDICTOR_TEXT, PREDICTORS, Sharing, Study
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair

COLORS = {"relatives": "#0b6bcb", "independent": "#b3541e"}
ROWS: tuple[tuple[Sharing, str], ...] = (("raw", "raw sharing"), ("refitted", "refitted"))
DPI = 110


def write_scatter(study: Study, path: str | os.PathLike[str]) -> Path:
    """Write the scatter plots, raw sharing above refitted, one column per predictor, as one PNG.

    Each title gives Pearson's r over relatives and over independent networks.

    Raises:
        UsageError: The file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except Exception as error:
        raise MissingDependencyError(
            f"the scatter plot needs matplotlib, which is {how_missing(error)}", repair(error, install_extra("convert"))
        ) from error
    figure = Figure(figsize=(3.1 * len(PREDICTORS), 3.1 * len(ROWS) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(ROWS), len(PREDICTORS), squeeze=False, sharey=True)
    for row, (sharing, text) in zip(grid, ROWS, strict=True):
        for axes, predictor in zip(row, PREDICTORS, strict=True):
            _draw(axes, study, sharing, predictor)
        row[0].set_ylabel(f"accuracy, {text}")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    path = Path(path)
    with files.whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    return path


def _draw(axes: Any, study: Study, sharing: Sharing, predictor: str) -> None:
    title = []
    for relation, color in COLORS.items():
        points = [p for p in study.points if p.sharing == sharing and p.relation == relation]
        x, y = [getattr(p, predictor) for p in points], [p.accuracy for p in points]
        axes.scatter(x, y, s=22, color=color, alpha=0.75, linewidths=0, label=relation)
        correlation = next(
            c
            for c in study.correlations
            if (c.group, c.sharing, c.outcome, c.predictor) == (relation, sharing, "accuracy", predictor)
        )
        if correlation.r is not None:
            title.append(f"{relation} r = {correlation.r:.2f}")
    axes.set_title("\n".join(title) or "too few points", fontsize=9)
    axes.set_xlabel(PREDICTOR_TEXT[predictor])
    axes.set_ylim(-0.03, 1.03)
    axes.grid(color="#d9dee4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    axes.spines[["top", "right"]].set_visible(False)
