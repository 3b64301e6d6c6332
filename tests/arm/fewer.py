"""Pytest plug-in of the Arm job, as an emulated processor is ten times slower.

Properties are tried on few examples: which of them break one is no matter of the processor.
What has to happen in a service is waited for longer.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

from tests.runtime.service import served

EXAMPLES = 8
PATIENCE_S = 1800.0

_make = settings.__init__


def _few(self: settings, *arguments: Any, **options: Any) -> None:
    if isinstance(options.get("max_examples"), int):
        options["max_examples"] = min(options["max_examples"], EXAMPLES)
    _make(self, *arguments, **options)


# A profile alone would not hold for tests that name a number themselves.
settings.__init__ = _few  # type: ignore[method-assign]
settings.register_profile("arm", max_examples=EXAMPLES, deadline=None)
settings.load_profile("arm")
served.PATIENCE_S = PATIENCE_S
