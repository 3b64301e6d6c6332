"""The live page: files that ship with multigraft, the latest picture, and what the page's curves are made of."""

from __future__ import annotations

import asyncio
import functools
import importlib.resources
import io
from typing import Any

from multigraft.errors import MissingDependencyError, MultigraftError
from multigraft.runtime.http.exchange import Request, Response
from multigraft.runtime.http.guard import RefusedError
from multigraft.runtime.http.loop_side import LoopSide

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
QUALITY = 80
LARGEST = 960
"""Pixels of the longer side of what is sent: a telephone's screen."""
PICTURE_S = 0.08
"""A picture is good for so long: each costs the loop's process a copy of the frame."""


async def file(request: Request) -> Response:
    """One of :data:`FILES`."""
    name, content_type = FILES[request.path.rstrip("/") or "/"]
    return Response(_read(name), content_type)


@functools.cache
def _read(name: str) -> bytes:
    return (importlib.resources.files("multigraft.runtime.http") / "page" / name).read_bytes()


def state(figures: dict[str, Any]) -> dict[str, Any]:
    """What the page shows beside the picture."""
    return {
        key: figures[key]
        for key in (
            "bundle", "source", "health", "cameras", "frame", "frames", "dropped", "rate_hz",
            "words", "latency_us", "power",
            "temperature_c", "throttled", "memory_bytes", "uptime_s", "errors", "schedule", "exits", "offload",
        )
    }  # fmt: skip


class Pictures:
    """The latest picture as JPEG, drawn once however many look at it.

    Args:
        loop: Is asked for it.
    """

    def __init__(self, loop: LoopSide) -> None:
        self._loop = loop
        self._lock = asyncio.Lock()
        self._last: Response | None = None
        self._next = 0.0

    async def latest(self) -> Response:
        """The frame that was answered last, with its answers; several below each other where tasks see several.

        Raises:
            RefusedError: There is no picture: 404 with the reason.
        """
        clock = asyncio.get_running_loop()
        async with self._lock:
            if self._last is None or clock.time() >= self._next:
                self._last = None
                self._last = await self._drawn()
                self._next = clock.time() + PICTURE_S
            return self._last

    async def _drawn(self) -> Response:
        shown = await self._loop.ask("picture")
        if shown is None:
            raise RefusedError(404, "no frame was answered yet")
        number, groups = shown
        try:
            body = await asyncio.get_running_loop().run_in_executor(None, _jpeg, groups)
        except MultigraftError as error:
            reason = f"{error}" if isinstance(error, MissingDependencyError) else "these frames are no pictures"
            raise RefusedError(404, reason) from error
        return Response(body, "image/jpeg", headers={"x-frame": str(number)})


def _jpeg(groups: list[tuple[Any, dict[str, Any]]]) -> bytes:
    from PIL import Image

    from multigraft.runtime.drawing.draw import draw

    drawn = []
    for frame, answers in groups:
        picture = draw(frame, answers)
        picture.thumbnail((LARGEST, LARGEST))
        drawn.append(picture)
    whole = drawn[0]
    if len(drawn) > 1:
        whole = Image.new("RGB", (max(p.width for p in drawn), sum(p.height for p in drawn)))
        top = 0
        for picture in drawn:
            whole.paste(picture, (0, top))
            top += picture.height
    target = io.BytesIO()
    whole.save(target, "JPEG", quality=QUALITY)
    return target.getvalue()
