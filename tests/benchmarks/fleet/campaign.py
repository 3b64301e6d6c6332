"""Ten thousand sites in a bucket that runs here: ``python -m tests.benchmarks fleet`` (``make fleet``).

Prints files a second, processor time, peak memory and the digest of the sum, for this process, Dask and Apache Beam,
each in three orders drawn at random; how time grows with the number of files; what becomes of it where reads fail, a
worker is killed, and the process is; and whether every broken file and every strange site is named, and no other.
Runs that are done stay in a folder: the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multigraft.cli.shared.table import print_table
from multigraft.cores import usable_cores
from multigraft.files import sha256_of
from tests.benchmarks.fleet.one_run import KILLED
from tests.benchmarks.fleet.record import Record
from tests.benchmarks.fleet.site_files import SiteFiles, made, prefix
from tests.converters.fleet.s3_server import environment, failing, put, serving

KILLS = 20
ORDERS = (1, 2, 3)
PARTS = ("growth", "orders", "faults")
"""How time grows; three engines in these orders; what reads that fail, a worker's death and kills change."""

_FAILING_ONE_IN = 10
_READS_FAIL = "plain, reads fail"
_ROOT = Path(__file__).parents[3]


def run(arguments: Sequence[str]) -> None:
    """The whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks fleet")
    parser.add_argument("files", nargs="?", type=int, default=10_000, help="a power of ten from 100 to 10,000")
    parser.add_argument("--keep", type=Path, default=Path("build/fleet"), help="files, and runs that are done")
    parser.add_argument(
        "--beam", type=os.path.abspath, help="the Python of an environment with multigraft[beam]; default: this one"
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="a part of the whole; may be given several times"
    )
    options = parser.parse_args(arguments)
    keep = options.keep.absolute()
    files = made(keep / f"files-{options.files}", options.files)
    record = Record(keep / f"runs-{options.files}.jsonl")
    with serving() as port:
        put(port, files.contents())
        _Campaign(files, record, keep, port, options.beam or sys.executable).show(options.only or PARTS)


class _Campaign:
    """All runs over the same files."""

    def __init__(self, files: SiteFiles, record: Record, keep: Path, port: int, beam: str) -> None:
        self._files, self._record, self._keep, self._port, self._beam = files, record, keep, port, beam
        self._rows: list[list[str]] = []

    def show(self, parts: Sequence[str]) -> None:
        """Do what is not done yet of these parts, and print the tables."""
        count = self._files.count
        found: list[Callable[[], None]] = []
        growing = [self._told("plain", 1, some) for some in (100, 1000, 10_000) if some < count and "growth" in parts]
        whole = [self._told("plain", 1, count)]
        if "growth" in parts:
            self._told("plain", 1, count, is_local=True)
            found.append(lambda: _grown([*growing, whole[0]]))
        if "orders" in parts:
            engines = [(engine, seed) for seed in ORDERS for engine in ("plain", "dask", "beam")]
            every = [self._told(engine, seed, count) for engine, seed in engines[1:]]
            found.append(lambda: _same([whole[0], *every], f"{len(engines)} runs, engines in {len(ORDERS)} orders"))
        if "faults" in parts:
            unsure, killed = self._told(_READS_FAIL, 4, count), self._told(KILLED, 5, count)
            ended = self._record.get("kills", lambda: self._kills(whole[0]["cpu_s"]))
            found.append(lambda: _endured(whole[0], unsure, killed, ended))
        print_table(
            f"{count:,} files of {self._bytes() / 1000:.0f} kB on average in moto's S3, {usable_cores()} cores",
            ("engine", "order", "files", "s", "files/s", "processor, s", "peak, MiB", "of a child", "load", "sum"),
            self._rows,
        )
        for show in found:
            show()
        _named("broken files", self._files.broken, whole[0]["aside"])
        _named("sites with another camera", self._files.strange, whole[0]["strange"])

    def _bytes(self) -> float:
        return sum(path.stat().st_size for path in self._files.folder.iterdir()) / self._files.count

    def _told(self, engine: str, seed: int, count: int, is_local: bool = False) -> dict[str, Any]:
        pattern = f"{prefix(count)}*.mgstats" if count < self._files.count else "*.mgstats"
        source = f"{self._files.folder}/{pattern}" if is_local else f"s3://fleet/{pattern}"
        where = "a folder" if is_local else "S3"
        name = f"{engine}, order {seed}, {count} files in {where}"
        folder = self._keep / "run"

        def do() -> dict[str, Any]:
            print(f"{name} ...", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            output = folder / "sum.mgstats"
            if engine != _READS_FAIL:
                return self._ran(engine, seed, source, output, self._port)
            with failing(self._port, _FAILING_ONE_IN, 7) as (door, counts):
                found = self._ran("plain", seed, source, output, door)
            return found | {"reads": sum(counts), "failed": counts[1]}

        told = self._record.get(name, do)
        self._rows.append([
            engine if not is_local else f"{engine}, a folder here", str(seed), f"{told['files']:,}",
            f"{told['seconds']:.1f}", f"{told['files'] / told['seconds']:.0f}", f"{told['cpu_s']:.1f}",
            f"{told['peak_mib']:.0f}", f"{told['child_mib']:.0f}", f"{told['load']:.1f}", told["sha256"][:8],
        ])  # fmt: skip
        return told

    def _command(self, engine: str, seed: int, source: str, output: Path) -> list[str]:
        python = self._beam if engine == "beam" else sys.executable
        return [python, "-m", "tests.benchmarks.fleet.one_run", engine, str(seed), source, str(output)]

    def _environment(self, port: int) -> dict[str, str]:
        # Beam's environment runs this checkout, too.
        package = Path(str(importlib.import_module("multigraft").__file__)).parents[1]
        path = {"PYTHONPATH": os.pathsep.join((str(_ROOT), str(package))), "OPENBLAS_NUM_THREADS": "1"}
        return dict(os.environ) | environment(port) | path

    def _ran(self, engine: str, seed: int, source: str, output: Path, port: int) -> dict[str, Any]:
        """What one run in a process of its own tells."""
        started = time.monotonic()
        done = subprocess.run(
            self._command(engine, seed, source, output), cwd=output.parent, env=self._environment(port),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{engine} ended with {done.returncode}: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found | {"wall_s": time.monotonic() - started, "load": os.getloadavg()[0]}

    def _kills(self, longest_s: float) -> dict[str, Any]:
        """Kill the process at random moments of a run; the next run goes on, in another order.

        Args:
            longest_s: Of the processor, of a whole run: other work does not stretch it.
        """
        print(f"{KILLS} kills ...", file=sys.stderr)
        folder = self._keep / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        output, source = folder / "sum.mgstats", "s3://fleet/*.mgstats"
        drawn = random.Random(11)
        kills = whole = 0
        while kills < KILLS:
            process = subprocess.Popen(
                self._command("plain", 13 + kills, source, output), cwd=folder, env=self._environment(self._port),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                process.wait(drawn.uniform(0, longest_s / 6))
                whole += 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        told = self._ran("plain", 99, source, output, self._port)
        left = sorted(path.name for path in folder.iterdir() if path != output)
        return told | {"sha256": sha256_of(output.read_bytes()), "kills": kills, "whole": whole, "left": left}


def _grown(runs: Sequence[dict[str, Any]]) -> None:
    rates = ", ".join(f"{one['files'] / one['seconds']:.0f}" for one in runs)
    print(f"files a second, from {runs[0]['files']:,} to {runs[-1]['files']:,} files: {rates}")


def _endured(whole: dict[str, Any], unsure: dict[str, Any], killed: dict[str, Any], ended: dict[str, Any]) -> None:
    print(f"of {unsure['reads']:,} reads {unsure['failed']:,} failed")
    _same([whole, unsure], f"one read in {_FAILING_ONE_IN} failing")
    _same([whole, killed], "a worker of Dask killed")
    left = ended["left"] or "nothing"
    print(f"killed {ended['kills']} times, {ended['whole']} runs in between ended; left behind: {left}")
    _same([whole, ended], "the process killed")


def _same(runs: Sequence[dict[str, Any]], what: str) -> None:
    equal = len({(run["sha256"], tuple(run["aside"]), tuple(run["strange"])) for run in runs}) == 1
    print(f"{'equal, byte for byte' if equal else 'DIFFERENT'}: {what}")


def _named(what: str, expected: frozenset[str], named: Sequence[str]) -> None:
    found = set(named)
    print(f"{what}: {len(expected)} made, {len(found & expected)} named, {len(found - expected)} others named")
