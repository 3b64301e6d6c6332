"""The readers that are fuzzed, by name."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

NAMES = ("bundle_reader", "tflite_check", "frame_decoder", "settings_reader")
"""Modules of this folder."""


class Target(Protocol):
    """One reader."""

    def seeds(self) -> dict[str, bytes]:
        """Good inputs, by name."""

    def run(self, data: bytes) -> None:
        """Give ``data`` to the reader.

        Raises:
            MultigraftError: It was refused.
        """


def target(name: str) -> Target:
    """The target of that name."""
    return cast(Target, importlib.import_module(f"tests.attack.fuzzing.{name}"))
