"""The port to a device that is talked to in bytes."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, runtime_checkable

TIMEOUT_S = 8.0
"""Default of the seconds that a device may take for one operation, such as an inference with its inputs and outputs."""


@runtime_checkable
class Link(Protocol):
    """Carries bytes to a device and back, between entering and leaving a ``with`` block.

    Bytes may get lost or be changed on the way; what they mean is above it (:mod:`multigraft.devices.target.target`).

    Attributes:
        name: What is at the other end and where, for messages.
    """

    @property
    def name(self) -> str: ...

    def __enter__(self) -> Self:
        """Open the link; what arrived before is forgotten.

        Raises:
            DeviceError: There is no such port, it is in use or may not be opened.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the link."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            DeviceError: The device was unplugged, or the link is not open.
        """
        ...

    def read(self, limit: int, timeout_s: float) -> bytes:
        """At most ``limit`` bytes: those that are there, or else the first to arrive within ``timeout_s``.

        Returns:
            The bytes; empty if none arrived in time.

        Raises:
            DeviceError: The device was unplugged, or the link is not open.
        """
        ...
