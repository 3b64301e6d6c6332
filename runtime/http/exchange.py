"""One request and its answer, as the routes see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from multigraft.runtime.http.guard import RefusedError

MOST_BODY = 32 << 20
"""Bytes of a request."""
LARGE_BODY = 256 << 10
LARGE_AT_ONCE = 2
"""Requests larger than :data:`LARGE_BODY` that are read at the same time; further ones are told to come again."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_large = asyncio.Semaphore(LARGE_AT_ONCE)


@dataclass(frozen=True)
class Request:
    """A request whose head was read.

    Attributes:
        method: GET, POST and so on.
        path: Decoded.
        query: Undecoded.
        headers: By name in small letters.
        receive: Gives the rest.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    receive: Receive

    async def body(self) -> bytes:
        """All of it.

        Raises:
            RefusedError: It is too long, compressed, or the client went away.
        """
        if self.headers.get("content-encoding", "identity") != "identity":
            raise RefusedError(415, "send the body as it is, without compression")
        length = self.headers.get("content-length", "")
        announced = int(length) if length.isascii() and length.isdigit() else 0
        if announced > MOST_BODY:
            raise RefusedError(413, f"the body has {announced} bytes and may have {MOST_BODY}", {"connection": "close"})
        if announced <= LARGE_BODY and length:
            return await self._read(LARGE_BODY)
        if _large.locked():
            raise busy()
        async with _large:
            return await self._read(MOST_BODY)

    async def _read(self, most: int) -> bytes:
        parts = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the client went away")
            parts += message.get("body", b"")
            if len(parts) > most:
                raise RefusedError(413, f"the body has more than {most} bytes", {"connection": "close"})
            if not message.get("more_body", False):
                return bytes(parts)


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain data as JSON."""
    return Response(json.dumps(data).encode(), "application/json", status, headers or {})


def busy() -> RefusedError:
    """What a client is told that has to come again."""
    return RefusedError(503, "busy; ask again in a moment", {"retry-after": "1"})
