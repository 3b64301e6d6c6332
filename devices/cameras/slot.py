"""Room for one frame of each camera: between the threads that read cameras and whoever asks for frames."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")


class Slots(Generic[K, F]):
    """Holds the newest frame of each camera until it is taken; one that is renewed keeps its place in the queue.

    Attributes:
        dropped: Frames that made room for a newer one, by camera.
        is_closed: No further frame comes.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: dict[K, F] = {}
        self.dropped: Counter[K] = Counter()
        self.is_closed = False

    def has(self, wanted: Callable[[K], bool] = lambda key: True) -> bool:
        """Whether a frame of such a camera waits to be taken."""
        with self._changed:
            return self._first(wanted) is not None

    def put(self, key: K, frame: F, is_patient: bool = False) -> bool:
        """Lay a frame down.

        Args:
            key: The camera.
            frame: It.
            is_patient: Wait until the one that lies there is taken, in place of dropping it.

        Returns:
            Whether it lies there; not where all is closed.
        """
        with self._changed:
            if is_patient:
                self._changed.wait_for(lambda: key not in self._frames or self.is_closed)
            if self.is_closed:
                return False
            self.dropped[key] += key in self._frames
            self._frames[key] = frame
            self._changed.notify_all()
            return True

    def take(self, seconds: float | None, wanted: Callable[[K], bool] = lambda key: True) -> tuple[K, F] | None:
        """A camera and its frame, the one that has waited longest.

        Args:
            seconds: To wait for one; None for as long as one may come.
            wanted: Of which cameras.

        Returns:
            None if none came, or none comes any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._first(wanted) is not None or self.is_closed, seconds)
            found = self._first(wanted)
            if found is None:
                return None
            frame = self._frames.pop(found[0])
            self._changed.notify_all()
            return found[0], frame

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _first(self, wanted: Callable[[K], bool]) -> tuple[K] | None:
        return next(((key,) for key in self._frames if wanted(key)), None)


class Slot(Generic[F]):
    """The same for one camera."""

    def __init__(self) -> None:
        self._slots = Slots[None, F]()

    @property
    def dropped(self) -> int:
        """Frames that made room for a newer one."""
        return self._slots.dropped[None]

    @property
    def is_closed(self) -> bool:
        """No further frame comes."""
        return self._slots.is_closed

    def put(self, frame: F) -> bool:
        """Lay a frame down; whether it lies there, as none does in a slot that is closed."""
        return self._slots.put(None, frame)

    def take(self, seconds: float) -> F | None:
        """The frame, waited for that long; None if none came, or none comes any more."""
        found = self._slots.take(seconds)
        return None if found is None else found[1]

    def close(self) -> None:
        """Let nobody wait any more."""
        self._slots.close()
