"""The port to cameras: anything that yields frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from multigraft.tensors.preprocessing import Frame


@runtime_checkable
class Camera(Protocol):
    """A source of frames, opened by ``with`` and read by ``for``.

    A frame is uint8, height x width (grey) or height x width x 3 (RGB). It stays valid after the next one is read. A
    source that ends (files) stops the iteration; each ``iter()`` over such a source starts at its beginning. A live
    camera goes on until the block is left.

    Attributes:
        name: What it is and where, for messages and reports.
    """

    @property
    def name(self) -> str: ...

    def __enter__(self) -> Self:
        """Open the device or the file.

        Raises:
            DeviceError: The device does not answer.
            InputError: The file is not there or not what it has to be.
            MissingDependencyError: A package it needs is not installed.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the device back; also after an error."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames in the order in which they were taken.

        Raises:
            DeviceError: The device stopped answering, or is not open.
            InputError: A frame cannot be decoded; the message names it.
        """
        ...


class Shot(Protocol):
    """One moment, until the next one is taken.

    Attributes:
        small: A small grey picture of it: uint8, height x width.
    """

    @property
    def small(self) -> Frame: ...

    def frame(self) -> Frame:
        """The frame of that moment, which costs more to fetch; it stays valid.

        Raises:
            DeviceError: The next shot was taken before it was fetched.
        """
        ...


@runtime_checkable
class ShotCamera(Camera, Protocol):
    """A camera that shows what a frame is like before the frame is fetched."""

    def shots(self) -> Generator[Shot, None, None]:
        """Yield moments in the order in which they were taken, in place of ``iter()``; close it when it is left early.

        Raises:
            DeviceError: The device stopped answering, or is not open.
        """
        ...
