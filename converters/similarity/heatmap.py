"""Heat maps of similarity between the cut points of two networks, as PNG."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multigraft import files
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.visible import drawn

NUMBERS_UP_TO = 14
"""Cells per side up to which the figures themselves are written into the cells."""

TICKS_UP_TO = 40
LABEL_LENGTH = 24
DPI = 110

SharePoints = Mapping[tuple[str, str], tuple[str, str]]
"""(donor, target) to the cut points (``network/tensor``) at which the target is grafted."""


def write_heatmaps(
    table: SimilarityTable, folder: str | os.PathLike[str], share_points: SharePoints | None = None
) -> dict[tuple[str, str], Path]:
    """Write ``similarity_A_B.png`` for every pair of networks; returns the pair to its file.

    Raises:
        UsageError: The folder cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    return {
        (a, b): write_heatmap(table, a, b, Path(folder) / f"similarity_{a}_{b}.png", share_points)
        for a, b in itertools.combinations(table.networks, 2)
    }


def write_heatmap(
    table: SimilarityTable,
    a: str,
    b: str,
    path: str | os.PathLike[str],
    share_points: SharePoints | None = None,
) -> Path:
    """One pair: rows are the cut points of ``a`` from input (top) to output, columns those of ``b``.

    The colour scale is 0..1; a share point of the pair, in either direction, has a frame.

    Raises:
        UsageError: The file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except Exception as error:
        raise MissingDependencyError(
            f"heat maps need matplotlib, which is {how_missing(error)}", repair(error, install_extra("convert"))
        ) from error
    rows, columns = table.points_of(a), table.points_of(b)
    values = table.between(a, b)
    cell = 0.55 if max(values.shape) <= NUMBERS_UP_TO else 0.24
    figure = Figure(figsize=(cell * len(columns) + 4.2, cell * len(rows) + 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="equal")
    figure.colorbar(image, ax=axes, label="unbiased CKA", shrink=0.8)
    axes.set_title(f"{a} and {b}\n{table.frames} frames" + (", averaged over space" if table.is_pooled else ""), pad=18)
    for axis, points, name in ((axes.xaxis, columns, b), (axes.yaxis, rows, a)):
        step = -(-len(points) // TICKS_UP_TO)
        axis.set_ticks(range(0, len(points), step), [drawn(short_label(p)) for p in points[::step]], fontsize=8)
        axis.set_label_text(f"{name}, from input to output")
    axes.tick_params(axis="x", rotation=60)
    for tick in axes.get_xticklabels():
        tick.set_horizontalalignment("right")
        tick.set_rotation_mode("anchor")
    if max(values.shape) <= NUMBERS_UP_TO:
        for (row, column), value in np.ndenumerate(values):
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color="w" if value < 0.6 else "k", fontsize=8
            )
    for donor, target in ((a, b), (b, a)):
        if (shared := (share_points or {}).get((donor, target))) is None:
            continue
        marked = shared if donor == a else shared[::-1]
        if marked[0] in rows and marked[1] in columns:
            corner = columns.index(marked[1]) - 0.5, rows.index(marked[0]) - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="red", linewidth=2.5))
            axes.annotate(
                f"shared: {target} on {donor}",
                (0, 1.01),
                xycoords="axes fraction",
                color="red",
                fontsize=8,
                va="bottom",
            )
    path = Path(path)
    with files.whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    return path


def short_label(point: str) -> str:
    """A cut point's name without its network and what exporters add, its end kept where it is long."""
    label = point.split("/", 1)[-1].strip("/").removesuffix("_output_0")
    return label if len(label) <= LABEL_LENGTH else "…" + label[1 - LABEL_LENGTH :]
