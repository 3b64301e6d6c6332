"""A process that tries many inputs: each end is put down to the input that caused it, and the next one goes on."""

from __future__ import annotations

import mmap
import os
import signal
import time

import pytest

from multigraft.errors import InputError
from tests.attack import trials, workers
from tests.attack.workers import Worker

held: list[bytes] = []


def run(data: bytes) -> object:
    """Ends as the input says."""
    held.append(data)
    if data == b"abort" or (data == b"second" and b"first" in held):
        os.abort()
    if data == b"segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"hang":
        time.sleep(60)
    if data == b"exit":
        os._exit(3)
    if data == b"memory":
        with mmap.mmap(-1, 40_000_000) as taken:  # An allocator might give what the process has had before.
            taken.write(bytes(40_000_000))
    if data == b"wrong":
        raise KeyError("x")
    if data == b"refused":
        raise InputError("it is no model", "give one")
    return None


def test_each_end_is_that_of_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (workers, trials):
        monkeypatch.setattr(module, "SECONDS", 3)
    monkeypatch.setattr(trials, "MEMORY_MB", 20)
    wanted = {
        b"a": "passed", b"abort": "crash", b"refused": "refused", b"segv": "crash", b"hang": "hang",
        b"memory": "memory", b"b": "passed", b"exit": "crash", b"wrong": "traceback", b"c": "passed",
    }  # fmt: skip
    with Worker(run) as worker:
        for data, kind in wanted.items():
            end, cause = worker.tried(data)
            assert (end.kind, cause) == (kind, data)
        assert worker.started == 5


def test_a_process_is_replaced_after_so_many() -> None:
    with Worker(run, most=3) as worker, Worker(run, most=3) as other:
        for number in range(7):
            for one in (worker, other):
                assert one.tried(b"%d" % number)[0].kind == "passed"
        assert worker.started == other.started == 3


def test_what_only_others_before_it_cause_is_counted_and_says_so() -> None:
    with Worker(run) as worker:
        assert worker.tried(b"first")[0].kind == "passed"
        assert worker.tried(b"between")[0].kind == "passed"
        end, cause = worker.tried(b"second")
    assert end.is_bad and cause == b"second" and end.detail == "SIGABRT after 2 others"


def test_what_an_earlier_input_broke_is_put_down_to_it() -> None:
    tester = os.getpid()

    def later(data: bytes) -> None:
        """``breaks`` passes in a process where something ran before it, and ends the one that it has to itself."""
        if data == b"breaks" and not seen:
            os.abort()
        if b"breaks" in seen:
            os.abort()
        seen.append(data)

    seen: list[bytes] = []
    with Worker(later) as worker:
        assert [worker.tried(data)[0].kind for data in (b"x", b"breaks")] == ["passed", "passed"]
        end, cause = worker.tried(b"y")
    assert end.kind == "crash" and cause == b"breaks" and os.getpid() == tester
