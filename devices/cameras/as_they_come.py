"""Several live cameras at once: each frame as it comes, so that a slow camera holds up no other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.newest import LEAVING_S
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame


class AsTheyCome:
    """Reads cameras in a thread each and hands out the newest frame of one at a time, that has waited longest first.

    It ends when all have ended; what one of them raises is raised here.

    Args:
        cameras: Who asks for its frames to the camera; live ones.

    Attributes:
        dropped: Frames that were taken and not handed out.
    """

    def __init__(self, cameras: Mapping[tuple[str, ...], Camera]) -> None:
        self.cameras = dict(cameras)
        self.dropped = 0
        self._changed = threading.Condition()
        self._frames: dict[tuple[str, ...], Frame] = {}
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._is_left, self._reading = False, 0
        self._open = contextlib.ExitStack()

    @property
    def name(self) -> str:
        return "; ".join(f"{','.join(tasks)}: {camera.name}" for tasks, camera in self.cameras.items())

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for camera in self.cameras.values():
                stack.enter_context(camera)
            self._open = stack.pop_all()
        self._is_left, self._reading = False, len(self.cameras)
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True, name=f"multigraft: {pair[1].name}")
            for pair in self.cameras.items()
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(LEAVING_S)
        self._threads = []
        self._open.close()

    def __iter__(self) -> Iterator[Any]:
        """Task to frame, of one camera."""
        if not self._threads:
            raise DeviceError(f"{self.name} is not open", "read it inside a with block")
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._errors or not self._reading)
                if self._errors:
                    raise self._errors[0]
                if not self._frames:
                    return
                # The one that has waited longest: a frame that replaces another keeps its place.
                tasks = next(iter(self._frames))
                frame = self._frames.pop(tasks)
            yield dict.fromkeys(tasks, frame)

    def _read(self, tasks: tuple[str, ...], camera: Camera) -> None:
        try:
            for frame in camera:
                with self._changed:
                    if self._is_left:
                        return
                    self.dropped += tasks in self._frames
                    self._frames[tasks] = frame
                    self._changed.notify_all()
        except BaseException as error:
            self._errors.append(error)
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()
