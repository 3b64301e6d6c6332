"""One run in a process of its own: files are added up in an order drawn at random; prints what it took as JSON.

``python -m tests.benchmarks.fleet.one_run ENGINE SEED SOURCE OUTPUT`` takes what the engine takes and no test's
packages, so that Apache Beam may have an environment of its own.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from multigraft.converters.fleet.engines import CHUNK, engine_of
from multigraft.converters.fleet.gathering import Wanted, gather
from multigraft.converters.fleet.parts import Job, Part, Rules, batched
from multigraft.converters.fleet.run_store import store_of
from multigraft.converters.fleet.sites import sites_of
from multigraft.converters.job.progress import silent
from multigraft.files import sha256_of, write_bytes
from multigraft.statistics import statistics_file

KILLED = "dask, a worker killed"
_KILLED_AT = 2
"""Parts that have come before the worker is killed."""


def run(engine: str, seed: str, source: str, output: str) -> dict[str, Any]:
    """Add up, and tell seconds, MiB, and what came of it."""
    inner = engine_of(None if engine == "plain" else engine.partition(",")[0])

    def shuffled(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        jobs = [job for chunk in chunks for job in chunk]
        random.Random(int(seed)).shuffle(jobs)
        for number, part in enumerate(inner(batched(iter(jobs), CHUNK), rules)):
            if engine == KILLED and number == _KILLED_AT:
                _kill_a_worker()
            yield part

    started = time.monotonic()
    gathering = gather(Wanted((source,)), store_of(output), shuffled, silent)
    ((_, whole),) = gathering.sums()
    data = statistics_file.to_bytes(whole.coalesced())
    seconds = time.monotonic() - started
    table = sites_of(gathering.store.tallies(), [network.name for network in whole.subject.networks])
    write_bytes(output, data)
    gathering.store.remove()
    used = {who: resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)}
    children = used[resource.RUSAGE_CHILDREN]
    return {
        "files": gathering.counted.files,
        "reused": gathering.counted.reused,
        "seconds": seconds,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in used.values()),
        "peak_mib": _peak_mib(),
        "child_mib": children.ru_maxrss / 1024,
        "sha256": sha256_of(data),
        "aside": sorted(url.rpartition("/")[2] for url in gathering.counted.aside),
        "strange": [one.site for one in table.strange],
    }


def _peak_mib() -> float:
    # The kernel's ru_maxrss of a process counts what its parent had when it started it.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _kill_a_worker() -> None:
    import psutil

    workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    os.kill(max(workers, key=lambda process: process.memory_info().rss).pid, signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
