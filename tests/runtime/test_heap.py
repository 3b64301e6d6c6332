"""What is loaded costs no frame a collection, and what is let go of afterwards does not stay for ever."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from multigraft.runtime import heap


class Circle:
    """Let go of by a collection alone."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    gc.collect()
    yield
    gc.unfreeze()


def test_what_is_loaded_is_not_walked_again() -> None:
    before = len(gc.get_objects())
    heap.settle()
    assert gc.get_freeze_count() > 0.9 * before
    assert len(gc.get_objects()) < 0.1 * before


def test_garbage_of_before_is_gone() -> None:
    kept = weakref.ref(Circle())
    heap.settle()
    assert kept() is None


def test_what_was_left_out_goes_at_the_next_call_once_it_is_garbage() -> None:
    circle = Circle()
    kept = weakref.ref(circle)
    heap.settle()
    del circle
    gc.collect()
    assert kept() is not None
    heap.settle()
    assert kept() is None


def test_later_garbage_is_collected() -> None:
    heap.settle()
    kept = weakref.ref(Circle())
    gc.collect()
    assert kept() is None
