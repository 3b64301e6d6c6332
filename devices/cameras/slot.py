"""Room for one frame: between the thread that reads a camera and whoever asks for frames."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

F = TypeVar("F")


class Slot(Generic[F]):
    """Holds the newest frame until it is taken.

    Attributes:
        dropped: Frames that made room for a newer one.
        is_closed: No further frame comes.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: F | None = None
        self.dropped = 0
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether a frame waits to be taken."""
        return self._frame is not None

    def put(self, frame: F, is_patient: bool = False) -> bool:
        """Lay a frame down.

        Args:
            frame: It.
            is_patient: Wait until the one that lies there is taken, in place of dropping it.

        Returns:
            Whether it lies there; not in a slot that is closed.
        """
        with self._changed:
            if is_patient:
                self._changed.wait_for(lambda: self._frame is None or self.is_closed)
            if self.is_closed:
                return False
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
            return True

    def take(self, seconds: float) -> F | None:
        """The frame, waited for that long; None if none came, or none comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self.is_closed, seconds)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
