"""Agreement and accuracy against the number of layers with 1 bit, beside int8 and 4-bit weights.

``python -m tests.benchmarks one_bit [multigraft.toml] [--points 9] [--plot FILE]`` builds the networks of a settings
file (the demo's without one) in int8. Then convolutions get 1 bit, those first that alone add least noise to the
outputs: with one binary base and with two, and all behind them solved anew. Agreement is with the original networks, on
held-out frames that no choice has looked at; with ``labelled`` in the settings, accuracy is on labels. Time is the
median of one frame of all tasks, in turn with int8's, on one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigraft.agreement.agreement import Agreement
from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.cli.shared.settings_options import load_frames, use_one_thread
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import Built, build
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.job.progress import Report, terminal_report
from multigraft.converters.low_bit.memory import memory_bytes
from multigraft.converters.low_bit.noise import Noise
from multigraft.converters.one_bit.choosing import paired_us
from multigraft.converters.one_bit.fit import Solver
from multigraft.converters.one_bit.search import BASES, tried
from multigraft.converters.packing.lowering import fitting_of
from multigraft.converters.settings.settings import Settings
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph
from tests.benchmarks.low_bit import Figures

BLUE, BROWN = "#0b6bcb", "#b3541e"
STYLES = {1: "o-", 2: "s--"}


@dataclass(frozen=True)
class Point:
    """A graph measured.

    Attributes:
        layers: With 1 bit.
        shares: Of the time and the memory that int8 takes.
        figures: Task by task: agreement, and accuracy where there are labels, 0..1.
    """

    layers: int
    shares: tuple[float, float]
    figures: list[tuple[Agreement, float | None]]


def run(arguments: Sequence[str]) -> None:
    """Print the table."""
    use_one_thread()
    parser = argparse.ArgumentParser(prog="one_bit", description=__doc__)
    parser.add_argument("settings", type=Path, nargs="?")
    parser.add_argument("--points", type=int, default=9, help="of a curve")
    parser.add_argument("--plot", type=Path, help="a picture of the table")
    options = parser.parse_args(arguments)
    settings = Settings.load(options.settings or demo_folder() / "multigraft.toml")
    convert = dataclasses.replace(settings.convert, precision="int8", weights="8bit", rescue="none")
    settings = dataclasses.replace(settings, convert=convert)
    with terminal_report() as report:
        built = build(settings, load_frames, report)
        others, curves = measured(settings, built, options.points, report)
    tasks = [task.name for task in settings.tasks]
    named = [*others.items()]
    named += [(f"{n} {'base' if n == 1 else 'bases'}", p) for n, points in curves.items() for p in points]
    rows = [
        (name, str(p.layers), *(f"{share:.2f}" for share in p.shares), *(_percent(*f) for f in p.figures))
        for name, p in named
    ]
    heads = ("", "of 1 bit", "time", "memory", *(f"{task}: agreement, accuracy, %" for task in tasks))
    print_table(f"{settings.path.name}: layers with 1 bit; time and memory as shares of int8's", heads, rows)
    if options.plot is not None:
        draw(others, curves, tasks, options.plot)


def measured(
    settings: Settings, built: Built, count: int, report: Report
) -> tuple[dict[str, Point], dict[int, list[Point]]]:
    """int8 and 4-bit weights, and by bases the points of a curve from no layer to all."""
    finishing = built.conversion.finishing
    assert finishing is not None
    figures, int8 = Figures(settings, built), finishing.quantised.graph
    fitting = fitting_of(finishing, has_windows_free=True)

    def point(graph: Graph, layers: int) -> Point:
        content = tflite_file.write(finishing.cut(graph)[0])
        before, after = paired_us(int8, graph, fitting.feeds[0])
        shown = figures(Bundle(built.conversion.bundle.manifest, {MODEL: content}))
        return Point(layers, (after / before, memory_bytes(graph) / memory_bytes(int8)), shown)

    narrow = fitting_of(finishing)
    four = narrow.solved({layer.name: 4 for layer in narrow.layers}, report).graph
    others = {"int8": point(int8, 0), "4-bit weights": point(four, 0)}
    solver = Solver(fitting)
    trials = tried(solver, Noise(fitting.floating, fitting.feeds), report)
    curves: dict[int, list[Point]] = {}
    for bases in BASES:
        names = sorted((name for name, n in trials if n == bases), key=lambda name: trials[name, bases].noise)
        counts = sorted({round(float(c)) for c in np.linspace(1, len(names), min(count, len(names)))}) if names else []
        curves[bases] = []
        for some in counts:
            graph = solver.solved(dict.fromkeys(names[:some], bases), report).graph
            report(f"measure {some} of {len(names)} layers with 1 bit")
            curves[bases].append(point(graph, some))
    return others, curves


def _percent(agreed: Agreement, accuracy: float | None) -> str:
    return f"{100 * agreed.value:.1f}, {'-' if accuracy is None else f'{100 * accuracy:.1f}'}"


def draw(others: dict[str, Point], curves: dict[int, list[Point]], tasks: list[str], path: Path) -> None:
    """The table as a picture, a panel for each task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(tasks), 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (axes, task) in enumerate(zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True)):
        for bases, points in curves.items():
            whole = [others["int8"], *points]
            style, said = STYLES[bases], f"{bases} {'base' if bases == 1 else 'bases'}"
            layers = [p.layers for p in whole]
            agreed = [100 * p.figures[place][0].value for p in whole]
            axes.plot(layers, agreed, style, ms=3, color=BLUE, label=f"agreement, {said}")
            right = [100 * a for p in whole if (a := p.figures[place][1]) is not None]
            if len(right) == len(layers):
                axes.plot(layers, right, style, ms=3, color=BROWN, label=f"accuracy, {said}")
        four = 100 * others["4-bit weights"].figures[place][0].value
        axes.axhline(four, color="#666666", lw=0.8, ls=":", label="agreement, 4-bit weights in all layers")
        axes.set(title=task, xlabel="layers with 1 bit (0: int8)", ylabel="%")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6, loc="lower left")
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None, dpi=110)
