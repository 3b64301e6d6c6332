"""A search of six networks here and by Dask's workers: whether both find the same, in what time, and what Dask costs.

Five are tried on the sixth, and then the rest on each other. Beside the search's time stands that of the jobs alone:
what is between both is Dask, the networks' way to the workers, and the wait for the last job. A search of two networks
goes before, so that workers have imported what they take.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from multigraft.cli.shared.table import print_table
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult
from multigraft.converters.job.dask_cluster import dask_client
from multigraft.converters.job.workers import HERE, OnDask, Workers
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.similarity.representations import measure_similarity
from multigraft.cores import usable_cores
from tests.converters.graft.networks import GREY, frames, residual_network

SIZE, WIDTH = 16, 24
FIT, ACCEPT = 128, 200

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Timed:
    """Workers whose jobs are timed from within.

    Attributes:
        jobs_s: Seconds of all jobs together, where they are done.
        jobs: How many.
    """

    def __init__(self, inner: Workers) -> None:
        self._inner = inner
        self.jobs_s, self.jobs = 0.0, 0

    def each(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        return self._inner.each(do, items)

    def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
        result: Result
        result, seconds = self._inner.run(_timed, shared, job=do, **own)
        self.jobs_s += seconds
        self.jobs += 1
        return result


def _timed(job: Callable[..., Result], **given: Any) -> tuple[Result, float]:
    started = time.perf_counter()
    result = job(**given)
    return result, time.perf_counter() - started


def show(folder: Path) -> None:
    """Print the table."""
    distributed: Any = importlib.import_module("distributed")
    grey = dataclasses.replace(GREY, height=SIZE, width=SIZE)
    networks = [residual_network(f"n{i}", i, width=WIDTH, preprocessing=grey) for i in range(6)]
    given = Evidence(frames(FIT, seed=1, size=SIZE), frames(ACCEPT, seed=2, size=SIZE))
    similarity = measure_similarity(networks, given.fit)

    def searched(workers: Workers, count: int = len(networks)) -> tuple[PlanningResult, float, _Timed]:
        timed = _Timed(workers)
        evidence = {network.name: Evidence(given.fit, given.accept) for network in networks}
        started = time.perf_counter()
        options = SearchOptions(workers=timed)
        found = plan_sharing(networks[:count], evidence, similarity, Limits(0.9), options)
        return found, time.perf_counter() - started, timed

    searched(HERE, 2)
    here, alone_s, timed = searched(HERE)
    rows = [_row("this process", alone_s, alone_s, timed, 1, "")]
    for count in sorted({1, 2, usable_cores()}):
        with (
            distributed.LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
            dask_client(cluster.scheduler_address) as client,
        ):
            searched(OnDask(client), 2)
            there, seconds, timed = searched(OnDask(client))
        same = "yes" if _content(there) == _content(here) else "NO"
        rows.append(_row(f"{count} of Dask's workers", seconds, alone_s, timed, count, same))
    print_table(
        f"search of six networks, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}, one run each",
        ("where", "s", "times as fast", "grafts", "jobs alone, s", "share of workers' time", "the same"),
        rows,
    )


def _row(where: str, seconds: float, alone_s: float, timed: _Timed, workers: int, same: str) -> list[str]:
    share = timed.jobs_s / (seconds * workers)
    return [
        where,
        f"{seconds:.1f}",
        f"{alone_s / seconds:.2f}",
        str(timed.jobs),
        f"{timed.jobs_s:.1f}",
        f"{share:.0%}",
        same,
    ]


def _content(outcome: PlanningResult) -> list[object]:
    found: list[object] = [outcome.donors, sorted(outcome.chosen.grafts)]
    for graft in outcome.evaluated:
        found.append((graft.join, graft.agreement, {n: v.tobytes() for n, v in graft.tail.constants.items()}))
    return found
