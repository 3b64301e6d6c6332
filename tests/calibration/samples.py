"""Statistics made in code: random representations of two small networks, a minibatch at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multigraft.statistics import statistics_file
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch, Place, Statistics
from multigraft.statistics.subject import Subject, Tap, TappedNetwork
from multigraft.statistics.tally import Terms
from multigraft.statistics.value_histogram import count

SUBJECT = Subject(
    "0" * 64,
    (
        TappedNetwork("garment", "classification", "garment/image", ("garment/logits",)),
        TappedNetwork("digit", "classification", "digit/image", ("digit/logits",)),
    ),
    tuple(Tap(f"{n}/relu{i}", n, (4, 4, 3)) for n in ("garment", "digit") for i in (1, 2)),
)
FRAMES = 8


def minibatch(seed: int, frames: int = FRAMES, shift: float = 0.0) -> Minibatch:
    """One minibatch; ``shift`` moves the features that drift is tested on, in standard deviations."""
    random = np.random.default_rng(seed)
    base = random.standard_normal((frames, 48)).astype(np.float32)
    overall, local = Terms(frames), Terms(frames)
    representations = []
    for tap in SUBJECT.taps:
        values = base + random.standard_normal((frames, 48)).astype(np.float32)
        representations.append(values)
        flat = values.reshape(-1, 3).astype(np.float64)
        overall.sums[f"channel/{tap.name}"] = flat.sum(axis=0)
        overall.sums[f"square/{tap.name}"] = (flat**2).sum(axis=0)
        overall.counts[f"values/{tap.name}"] = count(values)
        overall.lows[tap.name] = np.array(values.min(), np.float64)
        overall.highs[tap.name] = np.array(values.max(), np.float64)
    local.counts["brightness"] = np.bincount(random.integers(20, 40, frames), minlength=64)
    local.counts["sharpness"] = np.bincount(random.integers(20, 40, frames), minlength=64)
    for network in SUBJECT.networks:
        local.counts[f"margin/{network.name}"] = np.bincount(random.integers(0, 50, frames), minlength=50)
        local.counts[f"entropy/{network.name}"] = np.bincount(random.integers(0, 50, frames), minlength=50)
    for name, width in (("image", 2), ("garment", 4), ("digit", 4)):
        mean = random.standard_normal(width) + shift
        local.sums[f"drift/{name}"], local.sums[f"drift2/{name}"] = mean, np.outer(mean, mean)
    sums = SimilaritySums([tap.name for tap in SUBJECT.taps])
    sums.add(representations)
    return Minibatch(overall, local, sums)


def statistics(
    seed: int, count: int = 16, place: Place = ("site-7", "2026-05-01"), shift: float = 0.0, minimum: int = FRAMES
) -> Statistics:
    """``count`` minibatches of one place."""
    gathered = Statistics(SUBJECT, minimum)
    for number in range(count):
        gathered.add(minibatch(seed * 1000 + number, shift=shift), place)
    return gathered


def released(held: Statistics, path: Path) -> Path:
    """The file that a store would have released of these."""
    return statistics_file.write_content(statistics_file.to_bytes(held.coalesced()), path)
