"""What sources that are files have in common, cameras and microphones alike."""

from __future__ import annotations

from types import TracebackType
from typing import Self

MAC_PREFIX = "._"
"""Begins the names of the files in which a Mac keeps attributes beside each file, on disks of other systems."""


class SourceWithoutDevice:
    """Base of sources that hold nothing open between frames: entering and leaving a ``with`` block does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def is_live(source: object) -> bool:
    """Whether frames come whether they are taken or not; files and fakes wait."""
    several = getattr(source, "cameras", None)
    if several is not None:
        return any(is_live(one) for one in several)
    return not isinstance(source, SourceWithoutDevice)
