"""Where files are added up: in this process, by Dask or by Apache Beam. All give the same sums."""

from __future__ import annotations

import importlib
import itertools
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from multigraft.converters.fleet.parts import Job, Part, Rules, batched, part_of
from multigraft.converters.job.dask_cluster import check_code, checked_code, dask_address, dask_client
from multigraft.errors import InputError, MissingDependencyError, UsageError
from multigraft.installing import how_missing, install_extra, repair

CHUNK = 32
"""Files of one part: what a lost worker costs, and what is between two checkpoints."""

AHEAD = 2
"""Parts that each thread of a cluster has to do at a time."""

BEAM_CHUNKS = 32
"""That one pipeline of Beam takes: a part holds a row of each file, and is whole in memory."""

Engine = Callable[[Iterable[tuple[Job, ...]], Rules], Iterator[Part]]
"""Takes files in chunks, gives parts in any order."""


def engine_of(text: str | None) -> Engine:
    """The engine that ``--on`` names.

    Args:
        text: None for this process; ``dask`` for a cluster of this machine's cores; ``dask://HOST:PORT`` for a
            scheduler; ``beam`` for Apache Beam's local runner, ``beam:NAME`` for another.

    Raises:
        UsageError: It names none.
    """
    name, _, where = (text or "").partition(":")
    if text is None:
        return in_process
    if name == "dask":
        address = dask_address(text)
        return lambda chunks, rules: _on_dask(chunks, rules, address)
    if name == "beam":
        return lambda chunks, rules: _on_beam(chunks, rules, where or "DirectRunner")
    raise UsageError(f"--on {text} names no engine", "write dask, dask://HOST:PORT or beam, or leave it out")


def in_process(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
    """One chunk after the other."""
    for chunk in chunks:
        yield part_of(chunk, rules)


def _on_dask(chunks: Iterable[tuple[Job, ...]], rules: Rules, address: str | None) -> Iterator[Part]:
    with dask_client(address) as client:
        distributed = importlib.import_module("distributed")
        rest = iter(chunks)
        code = checked_code()
        threads = max(1, sum(client.nthreads().values()))
        waiting = distributed.as_completed()

        def submit(count: int) -> None:
            for chunk in itertools.islice(rest, count):
                waiting.add(client.submit(_part_there, code, chunk, rules, pure=False))

        submit(AHEAD * threads)
        for future in waiting:
            part: Part = future.result()
            submit(1)
            yield part


def _part_there(code: bytes, chunk: tuple[Job, ...], rules: Rules) -> Part:
    check_code(code)
    return part_of(chunk, rules)


def _on_beam(chunks: Iterable[tuple[Job, ...]], rules: Rules, runner: str) -> Iterator[Part]:
    _beam()
    with tempfile.TemporaryDirectory(prefix="multigraft-beam-") as folder:
        for some in batched(chunks, BEAM_CHUNKS):
            yield _by_pipeline(some, rules, runner, Path(folder) / "part")


def _by_pipeline(chunks: tuple[tuple[Job, ...], ...], rules: Rules, runner: str, target: Path) -> Part:
    beam = _beam()

    def keep(part: Part) -> None:
        target.write_bytes(pickle.dumps(part))

    target.unlink(missing_ok=True)
    options = importlib.import_module("apache_beam.options.pipeline_options").PipelineOptions([])
    with beam.Pipeline(runner, options=options) as pipeline:
        _ = pipeline | beam.Create(chunks) | beam.CombineGlobally(combine_fn(rules)) | beam.Map(keep)
    if not target.is_file():
        raise InputError("Beam's runner left no sum here", "take a local runner, or combine_fn in a pipeline of yours")
    # This process wrote it, or one that it started.
    part: Part = pickle.loads(target.read_bytes())
    return part


def combine_fn(rules: Rules) -> Any:
    """Adding up as a ``CombineFn`` of Apache Beam: from :class:`Job` to one :class:`Part`.

    An element may also be a tuple of jobs, some of which are read at the same time.

    Raises:
        MissingDependencyError: Apache Beam is not installed, or broken.
    """
    beam = _beam()

    class CombineStatistics(beam.CombineFn):  # type: ignore[misc,name-defined]
        def create_accumulator(self) -> Part:
            return Part()

        def add_input(self, accumulator: Part, jobs: Job | tuple[Job, ...]) -> Part:
            accumulator.take_all((jobs,) if isinstance(jobs, Job) else jobs, rules)
            return accumulator

        def merge_accumulators(self, accumulators: Iterable[Part]) -> Part:
            whole = Part()
            for part in accumulators:
                whole.merge(part)
            return whole

        def extract_output(self, accumulator: Part) -> Part:
            return accumulator

    return CombineStatistics()


def _beam() -> Any:
    try:
        return importlib.import_module("apache_beam")
    except ImportError as error:
        raise MissingDependencyError(
            f"--on beam takes Apache Beam, which is {how_missing(error)}", repair(error, install_extra("beam"))
        ) from error
