"""What noise on statistics costs: CKA, where the refit plan shares, and the graft's agreement, with and without it.

The demo's networks see its frames, and each of them again shifted by a pixel where more are asked for. Noise of every
epsilon goes on the same sums, as one release. "Off by" is the difference to the CKA without noise of the same frames,
over all pairs of cut points of two networks that are known; chance of OpenDP's draws is in it, so that figures change a
little from run to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.sampler import Sampler
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import graft
from multigraft.converters.field.statistics_input import similarity_from_statistics
from multigraft.converters.graft.propose import propose
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError
from multigraft.statistics import statistics_file
from multigraft.statistics.noise import DELTA, Bounds, Privacy
from multigraft.statistics.noised_similarity import noised_similarity
from multigraft.statistics.noising import noised
from multigraft.statistics.statistics import Statistics
from tests.benchmarks.collect_cost import demo_taps
from tests.benchmarks.demo_networks import SETTINGS, demo_task

NAMES = ("garment", "worn", "digit")
EPSILONS = (None, 8.0, 2.0, 0.5)
COUNTS, GRAFTED = (4096, 16384, 65536), 16384
SHIFTS = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]


def show(folder: Path) -> None:
    """Print both tables."""
    demo_taps(folder)
    distinct = np.load(folder / "demo.npy")
    networks = [demo_task(name).network for name in NAMES]
    bundle = Bundle.open(folder / "demo.graft")
    rows, plans, grafts = [], [], []
    for count in COUNTS:
        whole, bounds = _collected(bundle, _shifted(distinct, count))
        exact = whole.similarity().unbiased_cka()
        for epsilon in EPSILONS:
            statistics = whole if epsilon is None else noised(whole, Privacy(epsilon), bounds)
            row = f"{count:,}", "no noise" if epsilon is None else f"{epsilon:g}"
            rows.append((*row, *_cka_row(statistics, exact)))
            plans.append((*row, _plan(statistics, networks)))
            if count == GRAFTED:
                path = statistics_file.write_content(statistics_file.to_bytes(statistics), folder / "a.mgstats")
                grafts.append((*row, *_graft(path)))
    print_table(
        f"CKA of the demo's three networks with noise (delta {DELTA:g}), one release each",
        ("frames", "epsilon", "off by, mean", "off by, 95 %", "known to (median)", "known of all", "file"), rows,
    )  # fmt: skip
    print_table("What `calibrate plan` chooses by it", ("frames", "epsilon", "refit plan"), plans)
    print_table(
        "What `build` chooses by it, with the demo's frames at home",
        ("frames", "epsilon", "grafts", "agreement (lower bound at 95 %)"), grafts,
    )  # fmt: skip


def _shifted(distinct: npt.NDArray[np.uint8], count: int) -> Iterator[npt.NDArray[np.uint8]]:
    shifts = sorted(SHIFTS, key=lambda s: abs(s[0]) + abs(s[1]))
    for number in range(count):
        yield np.roll(distinct[number % len(distinct)], shifts[number // len(distinct)], (0, 1))


def _collected(bundle: Bundle, frames: Iterator[npt.NDArray[np.uint8]]) -> tuple[Statistics, Bounds]:
    """As a store would hold it before its first release, with what noise is added to."""
    sampler = Sampler(TapsRunner(bundle), site="price", is_bounded=True)
    whole = Statistics(sampler.subject)
    for frame in frames:
        if (minibatch := sampler.add(frame)) is not None:
            whole.add(minibatch, ("price", "2026-01-01"))
    return whole, sampler.bounds


def _cka_row(statistics: Statistics, exact: npt.NDArray[np.float64]) -> tuple[str, ...]:
    network = np.array([tap.network for tap in statistics.subject.taps])
    across = np.triu(network[:, None] != network[None])
    size = f"{len(statistics_file.to_bytes(statistics)) / 1e6:.2f} MB"
    found, pairs = noised_similarity(statistics), int(across.sum())
    if found is None:
        widths = statistics.precision()
        return "0", "0", "–" if widths is None else f"±{np.median(widths[across]):.3f}", f"{pairs} of {pairs}", size
    is_known = found.is_known[across]
    count = f"{is_known.sum()} of {pairs}"
    if not is_known.any():
        return "–", "–", "too noisy to choose by", count, size
    off = np.abs(found.cka - exact)[across][is_known]
    width = f"±{np.median(found.half_width[across][is_known]):.3f}"
    return f"{off.mean():.3f}", f"{np.percentile(off, 95):.3f}", width, count, size


def _plan(statistics: Statistics, networks: Sequence[Network]) -> str:
    try:
        joins = propose(networks, similarity_from_statistics(statistics, networks), {})
    except InputError:
        return "refused: too noisy"
    return ", ".join(f"{j.target} on {j.donor} up to {j.donor_point.label}" for j in joins) or "nothing"


def _graft(path: Path) -> tuple[str, str]:
    settings = dataclasses.replace(Settings.load(SETTINGS), statistics=(path,))
    try:
        chosen = graft(settings, load_frames).outcome.chosen
    except InputError:
        return "refused: too noisy", ""
    grafts = ", ".join(f"{n} on {c.join.donor} up to {c.join.donor_point.label}" for n, c in chosen.grafts.items())
    shown = [c.agreement for c in chosen.grafts.values() if c.agreement is not None]
    return grafts, ", ".join(f"{100 * a.value:.1f} % ({100 * a.lower_bound:.1f} %)" for a in shown)
