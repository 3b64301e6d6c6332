"""What noise on statistics costs: CKA, where the refit plan shares, and the bundle's agreement, with and without it.

The demo's networks see its frames, and each of them again shifted by a pixel where more are asked for. Every row is one
export of a store of its own. "Off by" is the difference to the CKA without noise of the same frames, over all pairs of
cut points of two networks; chance of OpenDP's draws is in it, so that figures change a little from run to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import graft
from multigraft.converters.field.statistics_input import similarity_from_statistics
from multigraft.converters.graft.propose import propose
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.errors import InputError, MultigraftError
from multigraft.statistics import statistics_file
from multigraft.statistics.noise import DELTA, Privacy
from multigraft.statistics.noised_similarity import noised_similarity
from multigraft.statistics.statistics import Statistics
from tests.benchmarks.collect_cost import demo_taps
from tests.benchmarks.demo_networks import SETTINGS, demo_task

NAMES = ("garment", "worn", "digit")
EPSILONS = (None, 8.0, 2.0, 0.5)
COUNTS = (4096, 16384)
SHIFTS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def show(folder: Path) -> None:
    """Print both tables."""
    demo_taps(folder)
    distinct = np.load(folder / "demo.npy")
    networks = [demo_task(name).network for name in NAMES]
    bundle = Bundle.open(folder / "demo.graft")
    rows, plans = [], []
    for count in COUNTS:
        np.save(folder / "frames.npy", np.stack(list(_shifted(distinct, count))))
        exact: npt.NDArray[np.float64] | None = None
        for epsilon in EPSILONS:
            name = f"{count}-{epsilon or 'none'}.mgstats"
            statistics = _collected(bundle, folder / "frames.npy", folder / name, count, epsilon)
            shown, exact = _cka_row(statistics, exact)
            rows.append((f"{count:,}", _written(epsilon), *shown))
            plans.append((f"{count:,}", _written(epsilon), *_plan_row(statistics, networks, folder / name)))
    print_table(
        f"CKA of the demo's three networks with noise (delta {DELTA:g}), one release each",
        ("frames", "epsilon", "off by, mean", "off by, 95 %", "known to (median)", "known of all", "file"), rows,
    )  # fmt: skip
    print_table(
        "What is chosen by it: the refit plan without frames at home, and the graft with 2,048 of them",
        ("frames", "epsilon", "refit plan", "graft", "agreement (lower bound at 95 %)"), plans,
    )  # fmt: skip


def _written(epsilon: float | None) -> str:
    return "no noise" if epsilon is None else f"{epsilon:g}"


def _shifted(distinct: npt.NDArray[np.uint8], count: int) -> Iterator[npt.NDArray[np.uint8]]:
    shifts = sorted(SHIFTS, key=lambda s: abs(s[0]) + abs(s[1]))
    for number in range(count):
        yield np.roll(distinct[number % len(distinct)], shifts[number // len(distinct)], (0, 1))


def _collected(bundle: Bundle, source: Path, output: Path, count: int, epsilon: float | None) -> Statistics:
    # One release: each adds noise.
    options = CollectOptions(
        frames=count, rule=SelectionRule(min_difference=0), minibatch=max(128, count // 32),
        privacy=None if epsilon is None else Privacy(epsilon),
    )  # fmt: skip
    collect(bundle, ArrayFile(source), output, options)
    return statistics_file.read(output)


def _cka_row(
    statistics: Statistics, exact: npt.NDArray[np.float64] | None
) -> tuple[Sequence[str], npt.NDArray[np.float64]]:
    network = np.array([tap.network for tap in statistics.subject.taps])
    across = np.triu(network[:, None] != network[None])
    found = noised_similarity(statistics)
    size = f"{len(statistics_file.to_bytes(statistics)) / 1e6:.2f} MB"
    if found is None or exact is None:
        widths = statistics.precision()
        known = "–" if widths is None else f"±{np.median(widths[across]):.3f}"
        return ("0", "0", known, f"{across.sum()} of {across.sum()}", size), statistics.similarity().unbiased_cka()
    known = found.is_known[across]
    count = f"{known.sum()} of {known.size}"
    if not known.any():
        return ("–", "–", "too noisy to choose by", count, size), exact
    off = np.abs(found.cka - exact)[across][known]
    width = f"±{np.median(found.half_width[across][known]):.3f}"
    return (f"{off.mean():.3f}", f"{np.percentile(off, 95):.3f}", width, count, size), exact


def _plan_row(statistics: Statistics, networks: Sequence[Network], path: Path) -> tuple[str, str, str]:
    try:
        joins = propose(networks, similarity_from_statistics(statistics, networks), {})
    except InputError as error:
        return f"refused: {error.problem.partition(':')[0]}", "refused", ""
    plan = ", ".join(f"{j.target} on {j.donor} up to {j.donor_point.label}" for j in joins) or "nothing"
    settings = dataclasses.replace(Settings.load(SETTINGS), statistics=path)
    try:
        chosen = graft(settings, load_frames).outcome.chosen
    except MultigraftError as error:
        return plan, f"refused: {error.problem}", ""
    grafts = ", ".join(f"{n} on {c.join.donor} up to {c.join.donor_point.label}" for n, c in chosen.grafts.items())
    shown = [c.agreement for c in chosen.grafts.values() if c.agreement is not None]
    return plan, grafts, ", ".join(f"{100 * a.value:.1f} % ({100 * a.lower_bound:.1f} %)" for a in shown)
