"""The same for many frames on all cores: in their order, a worker a thread, few at a time, errors passed on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from multigraft.converters.job.over_frames import MOST_WORKERS, over_frames


def squares() -> Callable[[int], int]:
    thread = threading.get_ident()

    def of(number: int) -> int:
        assert threading.get_ident() == thread, "a worker is used by another thread"
        time.sleep(0.002 if number % 3 == 0 else 0)
        return number**2

    return of


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_results_come_in_the_order_of_the_frames(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert list(over_frames(squares, range(40))) == [n**2 for n in range(40)]
    assert list(over_frames(squares, [])) == []


def test_few_frames_are_read_ahead() -> None:
    read: list[int] = []

    def frames() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    results = over_frames(squares, frames())
    next(results)
    assert len(read) <= MOST_WORKERS + 1
    results.close()


def test_what_fails_on_a_frame_is_raised_there() -> None:
    def make() -> Callable[[int], float]:
        return lambda number: 1 / (number - 5)

    results = over_frames(make, range(10))
    assert [next(results) for _ in range(5)] == [1 / (n - 5) for n in range(5)]
    with pytest.raises(ZeroDivisionError):
        next(results)
