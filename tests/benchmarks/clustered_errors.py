"""How often a gate is accepted that breaks its promise, where wrong answers come in runs.

``python -m tests.benchmarks.clustered_errors``: the true share of wrong answers is the one that was promised, so that
each gate that is accepted is an error, of which there may be 5 %. A law says how many frames in a row are right or
wrong together. Frames of the fit, of which looser thresholds answer two and four times as many wrong, say how long
blocks are. Columns: frames one by one, as the binomial tail takes them; blocks; and how often blocks accept a
threshold that is wrong a fifth as often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from multigraft.agreement.binomial import tail
from multigraft.cli.shared.table import print_table
from multigraft.exits.blocks import Blocks, Bools, block_length

RUNS = 200
RISK = 0.05
LOOSER = (1, 2, 4)
SIZES = ((0.1, 1000, 4096), (0.05, 2000, 8192), (0.02, 4000, 20_000), (0.01, 10_000, 40_000))
"""Promised share, frames that fit, and frames that test."""
Lengths = npt.NDArray[np.int64]
LAWS: dict[str, Callable[[np.random.Generator, int], Lengths]] = {
    "each frame by itself": lambda random, count: np.ones(count, np.int64),
    "5 to 15 frames": lambda random, count: random.integers(5, 16, count),
    "geometric, mean 10": lambda random, count: random.geometric(0.1, count),
    "geometric, mean 30": lambda random, count: random.geometric(1 / 30, count),
    "1 or 60 frames": lambda random, count: np.where(random.random(count) < 0.1, 60, 1),
}


def wrong_answers(random: np.random.Generator, law: str, frames: int, share: float) -> Bools:
    """(frames,) of which that share is wrong in the mean, in runs."""
    lengths = LAWS[law](random, frames)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), frames)) + 1]
    return np.repeat(random.random(len(lengths)) < share, lengths)[:frames]


def accepts(wrong: Bools, allowed: float, block: int) -> bool:
    """Whether a promise of so many would be given, each frame being taken."""
    count = len(wrong)
    if block == 1:
        return tail(count - int(wrong.sum()), count, 1 - allowed) <= RISK
    return Blocks(block, allowed).chance(np.ones(count, bool), wrong) <= RISK


def main() -> None:
    """Print one table."""
    rows = []
    for law in LAWS:
        for allowed, fits, tests in SIZES:
            told, lengths = [], []
            for seed in range(RUNS):
                random = np.random.default_rng(seed)
                seen = [wrong_answers(random, law, fits, min(allowed * times, 1.0)) for times in LOOSER]
                block = block_length(np.stack(seen))
                wrong, few = (wrong_answers(random, law, tests, share) for share in (allowed, allowed / 5))
                told.append((accepts(wrong, allowed, 1), accepts(wrong, allowed, block), accepts(few, allowed, block)))
                lengths.append(block)
            shares = [f"{100 * share:.1f} %" for share in np.mean(told, axis=0).tolist()]
            rows.append((law, f"{100 * allowed:g} %", f"{fits:,}", f"{tests:,}", f"{np.median(lengths):.0f}", *shares))
    head = ("alike", "promised", "fit", "test", "block", "broken, singly", "broken, blocks", "a fifth, blocks")
    print_table(f"Gates accepted, {RUNS} simulated runs each", head, rows)


if __name__ == "__main__":
    main()
