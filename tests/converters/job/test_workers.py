"""Jobs on Dask: what they give, what a lost worker costs, and what is said where nothing answers any more."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from multigraft.converters.job import dask_cluster, workers
from multigraft.converters.job.dask_cluster import dask_address, dask_client
from multigraft.converters.job.workers import HERE, OnDask, Workers, workers_of
from multigraft.errors import DeviceError, InputError, UsageError

NO_FLEET = "fleet: takes multigraft[fleet] and moto[server,s3]"
distributed: Any = pytest.importorskip("distributed", reason=NO_FLEET)
config: Any = pytest.importorskip("dask.config", reason=NO_FLEET)


@pytest.fixture(scope="module")
def dask() -> Iterator[OnDask]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        dask_client(cluster.scheduler_address) as client,
    ):
        yield OnDask(client)


def counted(numbers: list[int], folder: Path, of: int) -> int:
    """A job that notes each time that it is begun."""
    with (folder / f"begun-{of}").open("a") as opened:
        opened.write("x")
    return numbers[of] ** 2


def killed_once(numbers: list[int], folder: Path, of: int) -> int:
    """The same; when all others have come home, the worker of the third ends, and takes along what it was given."""
    result = counted(numbers, folder, of)
    if of == 2 and (folder / "begun-2").read_text() == "x":
        while len(list(folder.glob("home-*"))) < len(numbers) - 1:
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def refused(numbers: list[int], of: int) -> int:
    if of:
        raise InputError(f"{numbers[of]} is no network", "give another")
    return of


def waiting(path: Path) -> None:
    """Until the test has seen what it wants: whoever closes a worker waits half a minute for its job."""
    path.touch()
    while not path.with_name("over").exists():
        threading.Event().wait(0.02)


@pytest.mark.parametrize("place", ["here", "dask"])
def test_results_come_in_the_order_of_the_jobs(place: str, dask: OnDask, tmp_path: Path) -> None:
    some: Workers = HERE if place == "here" else dask
    numbers = [3, 1, 4, 1, 5, 9]
    squares = some.each(lambda i: some.run(counted, {"numbers": numbers}, folder=tmp_path, of=i), range(6))
    assert squares == [9, 1, 16, 1, 25, 81] and some.each(str, []) == []


def test_a_lost_worker_costs_its_job_alone(dask: OnDask, tmp_path: Path) -> None:
    numbers = list(range(8))

    def squared(i: int) -> int:
        square = dask.run(killed_once, {"numbers": numbers}, folder=tmp_path, of=i)
        (tmp_path / f"home-{i}").touch()
        return square

    assert dask.each(squared, range(8)) == [i**2 for i in range(8)]
    begun = [(tmp_path / f"begun-{i}").read_text() for i in range(8)]
    assert begun == ["x", "x", "xx", *["x"] * 5]


def test_what_a_job_refuses_is_refused_in_its_own_words_and_ends_the_others(dask: OnDask) -> None:
    refusing = OnDask(dask._client)
    with pytest.raises(InputError, match="1 is no network; give another"):
        refusing.each(lambda i: refusing.run(refused, {"numbers": [3, 1]}, of=i), range(2))
    with pytest.raises(CancelledError):
        refusing.run(refused, {"numbers": [3, 1]}, of=0)


def test_a_worker_of_another_version_is_refused(dask: OnDask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "checked_code", lambda: b"another")
    with pytest.raises(UsageError, match="another version of multigraft"):
        dask.run(counted, {"numbers": [1]}, folder=tmp_path, of=0)
    assert not list(tmp_path.iterdir())


class Unreadable:
    """As what is of a package that the scheduler lacks."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("no number",)


def test_a_scheduler_that_cannot_read_a_job_is_said_to_lack_the_package(dask: OnDask) -> None:
    with (
        pytest.raises(DeviceError, match="cannot read a job; install the same multigraft there as on the workers"),
        dask_client(dask._client.scheduler.address) as client,
    ):
        OnDask(client).run(refused, {"numbers": [3, 1]}, of=Unreadable())


def test_a_scheduler_that_ends_is_said_to(tmp_path: Path) -> None:
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    )
    begun = tmp_path / "begun"

    def end() -> None:
        while not begun.exists():
            threading.Event().wait(0.02)
        cluster.sync(cluster.scheduler.close)

    ending = threading.Thread(target=end)
    ending.start()
    with (
        pytest.raises(DeviceError, match="does not answer any more; start it again; the same command goes on"),
        dask_client(cluster.scheduler_address) as client,
    ):
        # For 30 s else it tries to reach one that is gone.
        client._timeout = 0.5
        dask = OnDask(client)
        dask.each(lambda path: dask.run(waiting, {"path": path}), [begun])
    begun.with_name("over").touch()
    ending.join()
    # It asks the scheduler, too, for as long as any other is asked.
    with config.set({"distributed.comm.timeouts.connect": "0.5 s"}):
        cluster.close()


def killed(client: Any) -> None:
    for process in client.run(os.getpid).values():
        os.kill(process, signal.SIGKILL)


def test_processes_here_that_end_are_started_again_however_long_that_takes() -> None:
    """As on a busy machine, where it takes longer than Dask waits by itself."""
    with (
        config.set({"distributed.deploy.lost-worker-timeout": "1 ms"}),
        dask_client(None) as client,
    ):
        killed(client)
        assert client.submit(pow, 2, 3).result(timeout=180) == 8


def test_processes_here_that_do_not_start_again_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "NO_WORKERS_S", 0.2)
    with (
        pytest.raises(DeviceError, match="has no worker any more; check the workers' memory"),
        dask_client(None) as client,
    ):
        killed(client)
        client.submit(pow, 2, 3).result(timeout=180)


def test_only_clusters_have_names() -> None:
    assert dask_address("dask") is None and dask_address("dask://box:8786") == "tcp://box:8786"
    for text in ("beam", "dask:", "dask://", "dask:/box", "spark://box"):
        with pytest.raises(UsageError, match="names no cluster"), workers_of(text):
            pass
    with workers_of(None) as found:
        assert found is HERE
