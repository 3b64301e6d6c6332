"""OpenCV where it is used: imported late, its BGR turned into RGB."""

from __future__ import annotations

from typing import Any

from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.tensors.preprocessing import Frame


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
