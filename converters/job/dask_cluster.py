"""Dask: processes of this machine or the workers of a scheduler, and what is said where they do not answer."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

from multigraft.converters.job.checkpoints import CODE_FOLDERS, code_digest
from multigraft.errors import DeviceError, MissingDependencyError, UsageError, one_line
from multigraft.installing import how_missing, install_extra, repair

NO_WORKERS_S = 600
"""How long jobs wait where all processes of this machine have ended and none starts again."""


def dask_address(text: str) -> str | None:
    """The scheduler that ``--on`` names: None for processes of this machine.

    Raises:
        UsageError: It names none.
    """
    if text == "dask":
        return None
    if not text.removeprefix("dask://") or not text.startswith("dask://"):
        raise UsageError(f"--on {text} names no cluster", "write dask or dask://HOST:PORT, or leave it out")
    return f"tcp://{text.removeprefix('dask://')}"


@contextlib.contextmanager
def dask_client(address: str | None) -> Iterator[Any]:
    """Yield a ``distributed.Client``.

    Args:
        address: Of a scheduler; None for processes of this machine, one a core, which end with the block.

    Raises:
        MissingDependencyError: Dask is not installed, or broken.
        DeviceError: The scheduler does not answer, or what is done in the block finds that it does not any more, that
            it lacks this package, that one job ended several workers, or that no worker starts again.
    """
    try:
        dask, distributed = (importlib.import_module(name) for name in ("dask", "distributed"))
    except ImportError as error:
        raise MissingDependencyError(
            f"--on dask takes Dask, which is {how_missing(error)}", repair(error, install_extra("fleet"))
        ) from error
    no_worker = importlib.import_module("distributed.scheduler").NoWorkerError
    where = address or "on this machine"
    settings = dask.config.set(
        {
            # Frames and networks are large, and go but once.
            "distributed.admin.large-graph-warning-threshold": "1 TB",
            # A process that ended is started again. The cluster gives it up after 15 s, where a busy machine still
            # imports, and then starts none.
            "distributed.deploy.lost-worker-timeout": "1000 days",
            "distributed.scheduler.no-workers-timeout": f"{NO_WORKERS_S} s",
        }
    )
    with settings, _client(distributed, address, where) as client:
        # It prints a traceback for every try to reach a scheduler that is gone.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            yield client
        except distributed.KilledWorker as error:
            raise DeviceError(
                f"Dask gave a job up, which {one_line(error)}", "check the workers' memory; the same command goes on"
            ) from error
        except no_worker as error:
            raise DeviceError(
                f"Dask's scheduler {where} has no worker any more",
                "check the workers' memory; the same command goes on",
            ) from error
        except CancelledError as error:
            raise DeviceError(
                f"Dask's scheduler {where} does not answer any more", "start it again; the same command goes on"
            ) from error
        except RuntimeError as error:
            # It reads every job before a worker does, and says no more than this of one that it cannot read.
            if "deserialization of the task graph" not in str(error):
                raise
            raise DeviceError(
                f"Dask's scheduler {where} cannot read a job", "install the same multigraft there as on the workers"
            ) from error


@contextlib.contextmanager
def _client(distributed: Any, address: str | None, where: str) -> Iterator[Any]:
    cluster = None
    try:
        # Threads of one worker would wait for each other: much of the work is Python.
        cluster = distributed.LocalCluster(threads_per_worker=1, dashboard_address=None) if address is None else None
        client = distributed.Client(cluster or address)
    except (OSError, ValueError) as error:
        if cluster is not None:
            cluster.close()
        raise DeviceError(
            f"Dask's scheduler {where} does not answer: {one_line(error)}", "check its address"
        ) from error
    with contextlib.closing(cluster) if cluster is not None else contextlib.nullcontext(), client:
        yield client


def checked_code() -> bytes:
    """What :func:`check_code` compares."""
    return code_digest(CODE_FOLDERS)


def check_code(expected: bytes) -> None:
    """On a worker: refuse a job of another version, whose results might differ.

    Raises:
        UsageError: The worker's code differs.
    """
    if checked_code() != expected:
        raise UsageError("a worker of Dask runs another version of multigraft", "install the same one everywhere")
