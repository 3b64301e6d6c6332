"""Does the same for many frames on all cores, in the frames' order.

Each thread has a worker of its own, such as an interpreter, which lets go of Python's lock while it computes. A frame's
result does not depend on the thread it is computed by, so that equal frames give equal results on any number of cores.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from multigraft.cores import usable_cores

MOST_WORKERS = 4
"""Each holds all of a network's activations."""

Feed = TypeVar("Feed")
Result = TypeVar("Result")


def over_frames(make: Callable[[], Callable[[Feed], Result]], feeds: Iterable[Feed]) -> Generator[Result, None, None]:
    """What a worker says of every feed, one after the other; few feeds and results are in memory at a time.

    Args:
        make: Makes a worker, for one thread alone.
        feeds: Read in the thread that iterates.
    """
    cores = min(usable_cores(), MOST_WORKERS)
    if cores == 1:
        yield from map(make(), feeds)
        return
    workers = threading.local()

    def of(feed: Feed) -> Result:
        if not hasattr(workers, "worker"):
            workers.worker = make()
        result: Result = workers.worker(feed)
        return result

    with ThreadPoolExecutor(cores) as pool:
        waiting: collections.deque[Future[Result]] = collections.deque()
        try:
            for feed in feeds:
                waiting.append(pool.submit(of, feed))
                if len(waiting) > cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for late in waiting:
                late.cancel()
