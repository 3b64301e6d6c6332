"""Agreement and accuracy against the number of layers with few bits, in the order in which a search takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import Built
from multigraft.converters.job.progress import Report
from multigraft.converters.low_bit.memory import memory_bytes
from multigraft.converters.low_bit.search import BITS, chosen, ranked
from multigraft.converters.packing.lowering import fitting_of
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph

POINTS = 9
BLUE, BROWN = "#0b6bcb", "#b3541e"
Figures = Callable[[Bundle], list[tuple[float, float | None]]]
"""Task by task: agreement, and accuracy where there are labels, 0..1."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A point of the way.

    Attributes:
        layers: With few bits.
        two: With 2 bits, of them.
        memory: Counted, bytes.
        figures: As :data:`Figures` gives them.
    """

    layers: int
    two: int
    memory: int
    figures: list[tuple[float, float | None]]


def show_steps(built: Built, figures: Figures, report: Report, plot: Path | None) -> None:
    """Print the table, and draw it into ``plot``."""
    finishing = built.conversion.finishing
    assert finishing is not None
    fitting = fitting_of(finishing)
    names = [layer.name for layer in fitting.layers]
    moves, _ = ranked(fitting, fitting.alone(dict.fromkeys(names, BITS), report), report)

    def step(graph: Graph, bits: dict[str, int]) -> Step:
        content = tflite_file.write(finishing.cut(graph)[0])
        shown = figures(Bundle(built.conversion.bundle.manifest, {MODEL: content}))
        return Step(len(bits), list(bits.values()).count(2), memory_bytes(graph), shown)

    counts = sorted({round(float(c)) for c in np.linspace(0, len(moves), POINTS)})
    steps = []
    for count in counts:
        choice = chosen(moves[:count])
        steps.append(step(fitting.solved(choice, report).graph, dict(choice)))
    four = step(fitting.solved(dict.fromkeys(names, 4), report).graph, dict.fromkeys(names, 4))
    tasks = [network.name for network in built.grafted.networks]
    rows = [
        (label, str(s.layers), str(s.two), f"{s.memory:,}", *(_percent(f) for f in s.figures))
        for label, s in [("", s) for s in steps] + [("all of 4 bits", four)]
    ]
    heads = ("", "few bits", "of 2 bits", "memory, bytes", *(f"{t}: agreement, accuracy, %" for t in tasks))
    print_table("layers with few bits, in the order of the search", heads, rows)
    if plot is not None:
        _draw(steps, four, tasks, plot)


def _percent(figure: tuple[float, float | None]) -> str:
    agreed, accuracy = figure
    return f"{100 * agreed:.1f}, {'-' if accuracy is None else f'{100 * accuracy:.1f}'}"


def _draw(steps: list[Step], four: Step, tasks: list[str], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(tasks), 3.1), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (axes, task) in enumerate(zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True)):
        memory = [s.memory / 1000 for s in steps]
        agreed = [100 * s.figures[place][0] for s in steps]
        accuracy = [100 * a for s in steps if (a := s.figures[place][1]) is not None]
        axes.plot(memory, agreed, "o-", ms=3, color=BLUE, label="agreement")
        axes.plot(four.memory / 1000, 100 * four.figures[place][0], "s", color=BLUE, mfc="none", label="all of 4 bits")
        if accuracy:
            axes.plot(memory, accuracy, "o-", ms=3, color=BROWN, label="accuracy")
        for one, x, y in zip(steps, memory, agreed, strict=True):
            axes.annotate(str(one.layers), (x, y), fontsize=7, xytext=(2, 3), textcoords="offset points")
        axes.set(title=task, xlabel="weights and values, kB", ylabel="%")
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower left")
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None, dpi=110)
