"""What a command does where the result misses the budget: it is written under a name that says so, and the exit code is
another, unless the user accepts it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.errors import BudgetError

if TYPE_CHECKING:
    from multigraft.converters.build import Built
    from multigraft.converters.graft.missed_budget import Miss
    from multigraft.converters.job.progress import Report
    from multigraft.converters.settings.settings import Settings


def add_allow_miss(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-miss``."""
    parser.add_argument(
        "--allow-miss",
        action="store_true",
        help="accept a result that misses the budget; without it NAME.missed is written and the exit code is 3",
    )


def missed_name(output: Path) -> Path:
    """``home.missed.graft`` beside ``home.graft``."""
    return output.with_name(f"{output.stem}.missed{output.suffix}")


def misses_of(settings: Settings, built: Built, report: Report) -> tuple[Miss, ...]:
    """What the built bundle misses of the budget; its latency is measured here where there is a limit to it."""
    from multigraft.cli.shared.build_results import RUNS, WARMUP, timing_frames
    from multigraft.converters.job.failed_step import reason_of
    from multigraft.converters.packing.budget import MeasuredLatency, missed
    from multigraft.runtime import Engine, benchmark

    latency = None
    if settings.budget.max_latency_us is not None:
        report("measure latency for the budget")
        try:
            timing = benchmark.measure_latency(Engine(built.bundle), timing_frames(built), None, RUNS, WARMUP)
            latency = MeasuredLatency(timing.compute.p50, timing.compute.samples)
        except Exception as error:
            latency = MeasuredLatency(None, None, reason_of(error))
    layers, least = built.conversion.layer_error.layers, settings.least_agreements
    return missed(settings.budget, built.bundle.manifest, latency, layers, least)


def refuse(written: Path, output: Path, misses: Sequence[Miss]) -> None:
    """Say that ``written`` misses the budget, unless it has the name that was asked for.

    Raises:
        BudgetError: It has not.
    """
    from multigraft.converters.graft.missed_budget import in_words

    if written != output:
        raise BudgetError(
            f"{written} misses the budget: {in_words(misses)}",
            "accept it with --allow-miss, keep the layers of most noise in float (--keep-float), or change [budget]",
        )
