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

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
QUALITY = 80
LARGEST = 960
"""Pixels of the longer side of what is sent: a telephone's screen."""

_drawing = asyncio.Lock()
_last: tuple[int, Response] | None = None


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
            "bundle", "source", "health", "frame", "frames", "dropped", "rate_hz", "words", "latency_us", "power",
            "temperature_c", "throttled", "memory_bytes", "uptime_s", "errors",
        )
    }  # fmt: skip


async def picture(shown: tuple[int, list[tuple[Any, dict[str, Any]]]] | None) -> Response:
    """The frame that was answered last, with its answers, as JPEG; several below each other where tasks see several.

    Args:
        shown: Its number, and frames with what was answered on them; None before the first.

    Raises:
        RefusedError: There is no picture: 404 with the reason.
    """
    global _last
    if shown is None:
        raise RefusedError(404, "no frame was answered yet")
    number, groups = shown
    async with _drawing:
        if _last is None or _last[0] != number:
            try:
                body = await asyncio.get_running_loop().run_in_executor(None, _jpeg, groups)
            except MultigraftError as error:
                reason = f"{error}" if isinstance(error, MissingDependencyError) else "these frames are no pictures"
                raise RefusedError(404, reason) from error
            _last = number, Response(body, "image/jpeg", headers={"x-frame": str(number)})
        return _last[1]


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
