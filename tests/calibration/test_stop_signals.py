"""Ctrl-C as something to look at: once it is noted, twice it interrupts, and outside it is what it was before."""

from __future__ import annotations

import signal
import threading

import pytest

from multigraft.calibration.stop_signals import stop_signals


def test_a_signal_is_noted_and_a_second_one_interrupts() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stop_signals() as received:
        assert received == []
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before


def test_outside_of_the_main_thread_nothing_is_noted_and_nothing_breaks() -> None:
    seen: list[list[int]] = []

    def run() -> None:
        with stop_signals() as received:
            seen.append(received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [[]]
