"""A microcontroller's camera, fetched over its serial port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from multigraft.devices.target.link import TIMEOUT_S, Link
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame


class SerialCamera:
    """Camera adapter: a board with generated firmware that defines ``mg_camera_frame``.

    A picture comes in pieces of 240 bytes, each with a CRC and sent again if it is lost: 96 x 96 grey pixels take about
    a second at 115,200 bits per second, and far less over USB.

    Args:
        link: To the board; not yet open.
        clock: Seconds, monotonic.
        timeout_s: Seconds that a picture may take, besides one for every 2,000 bytes of it.
    """

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S) -> None:
        self._link, self._clock, self._timeout_s = link, clock, timeout_s
        self._target: Target | None = None

    @property
    def name(self) -> str:
        return f"camera of the board at {self._link.name}"

    def __enter__(self) -> Self:
        self._link.__enter__()
        try:
            self._target = Target(self._link, self._clock, self._timeout_s)
        except BaseException:
            self._link.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target is not None:
            self._target = None
            self._link.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Frame]:
        while self._target is not None:
            yield self._target.capture()
        raise DeviceError(f"{self.name} is not open", "read it inside a with block")
