"""OpenCV where it is used: imported late, its BGR turned into RGB."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.tensors.preprocessing import Frame


class LiveCapture(ABC):
    """Base of cameras that OpenCV reads: opened by ``with``, and read until the block is left."""

    _capture: Any = None

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    def _device_name(self) -> str:
        """What messages call it."""
        return self.name

    @abstractmethod
    def _open(self) -> Any:
        """An open ``cv2.VideoCapture``."""

    @abstractmethod
    def _stopped(self) -> DeviceError:
        """What is raised when no frame comes any more."""

    def __enter__(self) -> Self:
        self._capture = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def __iter__(self) -> Iterator[Frame]:
        while self._capture is not None:
            frame = next_frame(self._capture)
            if frame is None:
                raise self._stopped()
            yield frame
        raise DeviceError(f"{self._device_name} is not open", "read it inside a with block")


def next_frame(capture: Any) -> Frame | None:
    """The next frame of a ``cv2.VideoCapture``, RGB or grey; None where there is none."""
    read, frame = capture.read()
    if not read:
        return None
    cv2 = opencv()
    converted: Frame = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return converted


def opencv() -> Any:
    """The module ``cv2``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import cv2
    except Exception as error:
        raise MissingDependencyError(
            f"reading video needs OpenCV, which is {how_missing(error)}", repair(error, install_extra("video"))
        ) from error
    return cv2
