"""Pytest plug-in of the Arm job: properties are tried on few examples, as an emulated processor is ten times slower.

Which examples break a property is no matter of the processor; the usual tests try all of them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

EXAMPLES = 8

_make = settings.__init__


def _few(self: settings, *arguments: Any, **options: Any) -> None:
    if isinstance(options.get("max_examples"), int):
        options["max_examples"] = min(options["max_examples"], EXAMPLES)
    _make(self, *arguments, **options)


# A profile alone would not hold for tests that name a number themselves.
settings.__init__ = _few  # type: ignore[method-assign]
settings.register_profile("arm", max_examples=EXAMPLES, deadline=None)
settings.load_profile("arm")
