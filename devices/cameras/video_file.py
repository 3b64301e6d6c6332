"""Video files, read by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from multigraft.devices.cameras.opencv import next_frame, opencv
from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.errors import InputError
from multigraft.tensors.preprocessing import Frame


class VideoFile(SourceWithoutDevice):
    """Camera adapter: the frames of a video file, RGB, from the beginning at each ``iter()``.

    Args:
        path: Anything OpenCV's FFmpeg reads.

    Raises:
        InputError: There is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise InputError(f"{path} does not exist", "check the path")

    @property
    def name(self) -> str:
        return f"video {self._path}"

    def __enter__(self) -> Self:
        self._open().release()
        return super().__enter__()

    def _open(self) -> Any:
        capture = opencv().VideoCapture(str(self._path))
        if not capture.isOpened():
            raise InputError(f"{self._path} is not a video that OpenCV can read", "convert it to MP4 (H.264)")
        return capture

    def __iter__(self) -> Iterator[Frame]:
        capture = self._open()
        try:
            empty = True
            while (frame := next_frame(capture)) is not None:
                empty = False
                yield frame
            if empty:
                raise InputError(f"{self._path} holds no frame that can be decoded", "convert it to MP4 (H.264)")
        finally:
            capture.release()
