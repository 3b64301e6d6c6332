"""Pytest plug-in of the Arm job, as an emulated processor is ten times slower.

Properties are tried on few examples, and of a test with many cases some are drawn: which of them break it is no matter
of the processor. What asks interpreters and kernels is run whole.
What has to happen in a service is waited for longer.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.runtime.service import served

EXAMPLES = 8
CASES = 12
WHOLE = ("tests/runtime/delegate/", "tests/runtime/test_")
PATIENCE_S = 1800.0

_make = settings.__init__


def _few(self: settings, *arguments: Any, **options: Any) -> None:
    if isinstance(options.get("max_examples"), int):
        options["max_examples"] = min(options["max_examples"], EXAMPLES)
    _make(self, *arguments, **options)


# A profile alone would not hold for tests that name a number themselves.
settings.__init__ = _few  # type: ignore[method-assign]
settings.register_profile("arm", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("arm")
served.PATIENCE_S = PATIENCE_S


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of each test outside :data:`WHOLE` keep :data:`CASES`, the same in every run."""
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    left_out: set[pytest.Item] = set()
    for name, cases in tests.items():
        if len(cases) > CASES and not name.startswith(WHOLE):
            left_out |= set(cases) - set(random.Random(name).sample(cases, CASES))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]
