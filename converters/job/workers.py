"""Where independent jobs are done: here, one after the other, or by workers, each of which may be lost.

Both do the same: what a job gives depends on its arguments alone.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from multigraft.converters.job.dask_cluster import check_code, checked_code, dask_address, dask_client
from multigraft.errors import DeviceError, MultigraftError, one_line

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Does jobs."""

    def each(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``do`` of every item, in their order; ``do`` is called here, and its jobs may be done at the same time."""

    def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
        """``do(**shared, **own)``.

        Args:
            do: A function of a module.
            shared: What many jobs take: it goes to the workers once, and may not change any more.
            own: What this job takes.
        """


class Here:
    """In this process, one after the other."""

    def each(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """As :class:`Workers`."""
        return [do(item) for item in items]

    def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
        """As :class:`Workers`."""
        return do(**shared, **own)


HERE = Here()


class OnDask:
    """By the workers of Dask. A job whose worker is lost is done again by another.

    Args:
        client: A ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._sent: dict[int, tuple[object, Any]] = {}
        self._running: set[Any] = set()
        self._is_over = False

    def each(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """As :class:`Workers`."""
        with ThreadPoolExecutor(max(1, len(items))) as pool:
            waiting = [pool.submit(do, item) for item in items]
            try:
                return [one.result() for one in waiting]
            except BaseException:
                # Threads that wait for a worker would hold up the end for as long as it works.
                with self._lock:
                    self._is_over = True
                    self._client.cancel(list(self._running))
                raise

    def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
        """As :class:`Workers`.

        Raises:
            CancelledError: Another job failed, or the scheduler is gone.
            DeviceError: A worker lacks a package.
        """
        with self._lock:
            if self._is_over:
                raise CancelledError
            sent = {name: self._of(value) for name, value in shared.items()}
            future = self._client.submit(_job, checked_code(), functools.partial(do, **own), pure=False, **sent)
            self._running.add(future)
        try:
            result: Result = future.result()
        except ImportError as error:
            if isinstance(error, MultigraftError):
                raise
            raise DeviceError(
                f"a worker of Dask lacks something: {one_line(error)}", "install the same multigraft everywhere"
            ) from error
        finally:
            with self._lock:
                self._running.discard(future)
        return result

    def _of(self, value: object) -> Any:
        # Kept with what it became, so that no other object can get its id. The scheduler keeps it, too: a lost worker
        # does not take it along.
        if id(value) not in self._sent:
            self._sent[id(value)] = value, self._client.submit(_same, value, pure=False)
        return self._sent[id(value)][1]


def _same(value: Result) -> Result:
    return value


def _job(code: bytes, do: Callable[..., Result], **shared: Any) -> Result:
    check_code(code)
    return do(**shared)


@contextlib.contextmanager
def workers_of(text: str | None) -> Iterator[Workers]:
    """Yield the workers that ``--on`` names: None for this process, ``dask``, or ``dask://HOST:PORT``.

    Raises:
        UsageError: It names none.
        MissingDependencyError: Dask is not installed, or broken.
        DeviceError: Its scheduler does not answer, or ends.
    """
    if text is None:
        yield HERE
        return
    with dask_client(dask_address(text)) as client:
        yield OnDask(client)
