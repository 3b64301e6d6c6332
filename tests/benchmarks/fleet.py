"""Ten thousand sites in a bucket that runs here: ``python -m tests.benchmarks fleet [FILES]`` (an hour on two cores).

Prints files a second, peak memory and the digest of the sum, for this process, Dask and Apache Beam in orders drawn at
random; how time grows with the number of files; what becomes of it where reads fail, a worker is killed, and the
process is; and whether every broken file and every strange site is named, and no other.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tests.converters.fleet.fleet_files import BROKEN, OTHER_CAMERA, content
from tests.converters.fleet.s3_server import child_environment, failing, put, serving

FILES = 10_000
KILLS = 20
BROKEN_SHARE, STRANGE_SHARE = 0.03, 0.01
_BATCH = 100


def run(arguments: Sequence[str]) -> None:
    """The whole benchmark, or with ``--one`` one run over the bucket, in a process of its own."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(_one(*arguments[1:])))
        return
    files = int(arguments[0]) if arguments else FILES
    with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder, serving() as port:
        os.chdir(folder)
        _show(files, port)


def _show(files: int, port: int) -> None:
    started = time.monotonic()
    broken, strange = _fill(files, port)
    size = len(content(0))
    print(f"{files:,} files of {size / 1000:.0f} kB in moto's S3, made in {time.monotonic() - started:.0f} s; "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    small = f"{min(files, 1000):05}"
    table = []
    for count in (100, 1000, 10_000):
        if count <= files:
            table.append(_told("plain", 1, f"s3://fleet/{_prefix(count)}*.mgstats", port))
    whole = f"s3://fleet/{_prefix(files)}*.mgstats"
    table += [_told(engine, seed, whole, port) for engine, seed in (("dask", 2), ("beam", 3))]
    _same(table[-3:] if files in (100, 1000, 10_000) else table[-2:], "the three engines, each in an order of its own")
    part = f"s3://fleet/{_prefix(1000)}*.mgstats" if files > 1000 else whole
    table = [_told(engine, seed, part, port) for seed in (4, 5, 6) for engine in ("plain", "dask", "beam")]
    _same(table, f"three engines in three orders ({small} files at most)")
    expected = table[0]["sha256"]
    with failing(port, 10, 7) as (door, counts):
        found = _told("plain", 8, part, door)
    print(f"  of {sum(counts):,} reads {counts[1]:,} failed")
    _same([found, table[0]], "one read in ten failing")
    _same([_told("dask-killed", 9, part, port), table[0]], "a worker killed")
    _kill(part, port, expected)
    _named(table[0] if part == whole else _told("plain", 10, whole, port), broken, strange)


def _prefix(count: int) -> str:
    """Of the names of the first so many files, where that is a power of ten."""
    return "0" * (5 - len(str(count - 1)))


def _fill(files: int, port: int) -> tuple[set[str], set[str]]:
    """Write the files; addresses of those broken, names of strange sites."""
    drawn = random.Random(0).sample(range(files), round(files * (BROKEN_SHARE + STRANGE_SHARE)))
    broken = dict.fromkeys(drawn[: round(files * BROKEN_SHARE)])
    strange = set(drawn[len(broken) :])
    ways = list(BROKEN)
    tasks = [(i, ways[n % len(ways)] if i in broken else "", i in strange)
             for n, i in enumerate([*broken, *(i for i in range(files) if i not in broken)])]  # fmt: skip
    with ProcessPoolExecutor(2) as pool:
        put(port, ((f"{i:05}.mgstats", data) for i, data in pool.map(_made, tasks, chunksize=_BATCH)))
    return {f"s3://fleet/{i:05}.mgstats" for i in broken}, {f"site-{i:05}" for i in strange}


def _made(task: tuple[int, str, bool]) -> tuple[int, bytes]:
    number, way, is_strange = task
    if way:
        return number, BROKEN[way](number)
    return number, content(number, moved=OTHER_CAMERA if is_strange else 0.0)


def _command(engine: str, seed: int, pattern: str, output: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.fleet", "--one", engine, str(seed), pattern, output]


def _ran(engine: str, seed: int, pattern: str, output: str, port: int) -> dict[str, Any]:
    """What one run in a process of its own tells."""
    command = _command(engine, seed, pattern, output)
    done = subprocess.run(
        command, env=_environment(port), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(engine: str, seed: int, pattern: str, port: int) -> dict[str, Any]:
    found = _ran(engine, seed, pattern, "sum.mgstats", port)
    print(f"  {engine:<12} order {seed:<3} {found['files']:>6,} files {found['seconds']:>7.1f} s "
          f"{found['files'] / found['seconds']:>6.0f} a second, peak {found['peak_mib']:>4.0f} MiB "
          f"(children {found['children_mib']:.0f}), {len(found['aside'])} aside, {found['sha256'][:12]}")  # fmt: skip
    return found


def _environment(port: int) -> dict[str, str]:
    return child_environment(port) | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def _same(runs: Sequence[dict[str, Any]], what: str) -> None:
    equal = len({(run["sha256"], json.dumps(run["aside"])) for run in runs}) == 1
    print(f"{'equal, byte for byte' if equal else 'DIFFERENT'}: {what}")


def _one(engine: str, seed: str, pattern: str, output: str) -> dict[str, Any]:
    """One run: chosen files are added up in an order drawn at random."""
    import resource

    from multigraft.converters.fleet.engines import CHUNK, engine_of
    from multigraft.converters.fleet.gathering import Wanted, gather
    from multigraft.converters.fleet.parts import Job, Part, Rules, batched
    from multigraft.converters.fleet.run_store import store_of
    from multigraft.converters.fleet.sites import sites_of
    from multigraft.converters.job.progress import silent
    from multigraft.files import sha256_of, write_bytes
    from multigraft.statistics import statistics_file

    inner = engine_of(None if engine == "plain" else engine.partition("-")[0])

    def shuffled(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        jobs = [job for chunk in chunks for job in chunk]
        random.Random(int(seed)).shuffle(jobs)
        for number, part in enumerate(inner(batched(iter(jobs), CHUNK), rules)):
            if engine == "dask-killed" and number == 2:
                _kill_a_worker()
            yield part

    started = time.monotonic()
    gathering = gather(Wanted((pattern,)), store_of(output), shuffled, silent)
    ((_, whole),) = gathering.sums()
    data = statistics_file.to_bytes(whole.coalesced())
    seconds = time.monotonic() - started
    table = sites_of(gathering.store.tallies(), [network.name for network in whole.subject.networks])
    write_bytes(output, data)
    gathering.store.remove()
    own, children = (resource.getrusage(of).ru_maxrss / 1024 for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "files": gathering.counted.files, "seconds": seconds, "peak_mib": own, "children_mib": children,
        "sha256": sha256_of(data), "aside": gathering.counted.aside, "strange": [one.site for one in table.strange],
        "reused": gathering.counted.reused,
    }  # fmt: skip


def _kill_a_worker() -> None:
    import psutil

    workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    os.kill(max(workers, key=lambda p: p.memory_info().rss).pid, signal.SIGKILL)


def _kill(pattern: str, port: int, expected: str) -> None:
    """Kill the process at random moments of a run; the next run goes on."""
    drawn = random.Random(11)
    started = time.monotonic()
    _ran("plain", 12, pattern, "killed.mgstats", port)
    longest = time.monotonic() - started
    kills = ended = 0
    while kills < KILLS:
        process = subprocess.Popen(_command("plain", 13 + kills, pattern, "killed.mgstats"), env=_environment(port),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        try:
            process.wait(drawn.uniform(0, longest / 3))
            ended += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    found = _ran("plain", 99, pattern, "killed.mgstats", port)
    print(f"killed {kills} times, {ended} runs in between ended; the last went on from {found['reused']:,} files: "
          f"{'the same, byte for byte' if found['sha256'] == expected else 'DIFFERENT'}")  # fmt: skip
    left = [
        path.name for path in Path.cwd().iterdir() if path.name.startswith("killed") and path.name != "killed.mgstats"
    ]
    print(f"left behind: {left or 'nothing'}")


def _named(found: dict[str, Any], broken: set[str], strange: set[str]) -> None:
    aside, named = set(found["aside"]), set(found["strange"])
    print(f"broken: {len(broken)} made, {len(aside & broken)} named, {len(aside - broken)} others named")
    print(
        f"another camera: {len(strange)} sites made, {len(named & strange)} named, {len(named - strange)} others named"
    )


if __name__ == "__main__":
    run(sys.argv[1:])
