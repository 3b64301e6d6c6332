"""Runs something in a process that has run nothing else.

What forks from one that has run networks may wait for their threads for ever, and counts that one's memory as its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_fresh_process(run: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """What ``run``, a function of a module, returns; what it raises is raised here.

    Raises:
        BrokenProcessPool: The process ended before it returned.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, *given, **named).result()
