"""Several live cameras at once: each frame as it comes, so that a slow camera holds up no other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.newest import LEAVING_S
from multigraft.devices.cameras.slot import Slots
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame


class AsTheyCome:
    """Reads cameras in a thread each and hands out the newest frame of one at a time, that has waited longest first.

    It ends when all have ended; what one of them raises is raised here.

    Args:
        cameras: Who asks for its frames to the camera; live ones.
    """

    def __init__(self, cameras: Mapping[tuple[str, ...], Camera]) -> None:
        self.cameras = dict(cameras)
        self._slots = Slots[tuple[str, ...], Frame]()
        self._dropped, self._errors, self._ended = 0, list[BaseException](), list[str]()
        self._threads: list[threading.Thread] = []
        self._open = contextlib.ExitStack()

    @property
    def dropped(self) -> int:
        """Frames that were taken and not handed out."""
        return self._dropped + self._slots.dropped.total()

    @property
    def name(self) -> str:
        return "; ".join(f"{','.join(tasks)}: {camera.name}" for tasks, camera in self.cameras.items())

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for camera in self.cameras.values():
                stack.enter_context(camera)
            self._open = stack.pop_all()
        self._dropped, self._slots, self._errors, self._ended = self.dropped, Slots(), [], []
        self._threads = [
            threading.Thread(target=self._read, args=(self._slots, *pair), daemon=True, name=pair[1].name)
            for pair in self.cameras.items()
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.close()
        for thread in self._threads:
            thread.join(LEAVING_S)
        self._threads = []
        self._open.close()

    def __iter__(self) -> Iterator[Any]:
        """Task to frame, of one camera."""
        if not self._threads:
            raise DeviceError(f"{self.name} is not open", "read it inside a with block")
        while (found := self._slots.take(None)) is not None and not self._errors:
            tasks, frame = found
            yield dict.fromkeys(tasks, frame)
        if self._errors:
            raise self._errors[0]

    def _read(self, slots: Slots[tuple[str, ...], Frame], tasks: tuple[str, ...], camera: Camera) -> None:
        try:
            for frame in camera:
                if not slots.put(tasks, frame):
                    return
        except BaseException as error:
            self._errors.append(error)
            slots.close()
        self._ended.append(camera.name)
        if len(self._ended) == len(self.cameras):
            slots.close()
