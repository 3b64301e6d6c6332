"""The port to microphones: anything that yields samples."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from multigraft.sounds.log_mel import Samples


@runtime_checkable
class Microphone(Protocol):
    """A source of samples, opened by ``with`` and read by ``for``.

    A block is int16, one channel, one dimension, of any length above 0; blocks follow each other without a gap, and
    stay valid. A source that ends (files) stops the iteration; each ``iter()`` over such a source starts at its
    beginning. A live microphone goes on until the ``with`` block is left.

    Attributes:
        name: What it is and where, for messages and reports.
        rate_hz: Samples a second.
    """

    @property
    def name(self) -> str: ...

    @property
    def rate_hz(self) -> int: ...

    def __enter__(self) -> Self:
        """Open the device or the file.

        Raises:
            DeviceError: The device does not answer.
            MissingDependencyError: A program it needs is not installed.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the device back; also after an error."""
        ...

    def __iter__(self) -> Iterator[Samples]:
        """Yield blocks of samples in the order in which they were taken.

        Raises:
            DeviceError: The device stopped answering, or is not open.
            InputError: A file is damaged.
        """
        ...
