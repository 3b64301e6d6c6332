"""The routes, as an ASGI application."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from multigraft.runtime.http import inference_protocol, live
from multigraft.runtime.http.exchange import Receive, Request, Response, Send, json_response
from multigraft.runtime.http.guard import Guard, RefusedError
from multigraft.runtime.http.loop_side import LoopSide, NoAnswerError
from multigraft.runtime.http.metrics import exposition

BODY_S = 20.0
"""For a request to come in and be answered; the connection's own limit is behind it."""
_SAFE: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Handler = Callable[[Request], Awaitable[Response]]


class Application:
    """Answers requests.

    Args:
        loop: What is asked for figures, pictures and inferences.
        guard: Who may ask.
        refused: Counts what was refused, by reason; the connections count into it, too.
        exports: Tells how an OpenTelemetry collector is told; None where none is.
    """

    def __init__(
        self,
        loop: LoopSide,
        guard: Guard,
        refused: Counter[str],
        exports: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self._loop, self._guard, self._refused, self._exports = loop, guard, refused, exports
        self._models = inference_protocol.Models(loop)
        self._pictures = live.Pictures(loop)
        self._pages: Mapping[str, Handler] = {
            "/healthz": self._health,
            "/metrics": self._metrics,
            "/live/state": self._state,
            "/live/picture": self._picture,
            **dict.fromkeys(live.FILES, live.file),
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        request = Request(scope["method"], scope["path"], query, headers, receive)
        try:
            self._guard.check(request.method, headers, query)
            cookie = self._guard.cookie_for(query)
            if cookie is not None and request.path == "/":
                # The token leaves the address bar, and with it the history.
                response = Response(b"", "text/plain", 303, {"location": "/", "set-cookie": cookie})
            else:
                response = await asyncio.wait_for(self._answer(request), BODY_S)
        except RefusedError as error:
            self._refused[_reason(error.status)] += 1
            response = json_response({"error": error.problem}, error.status, error.headers)
        except (NoAnswerError, TimeoutError):
            self._refused["slow"] += 1
            response = json_response({"error": "no answer in time"}, 503, {"connection": "close"})
        except Exception as error:
            self._refused["defect"] += 1
            print(f"multigraft: {request.method} {request.path[:80]!r}: {error!r}", file=sys.stderr)
            response = json_response({"error": "a defect of multigraft; its log says more"}, 500)
        await _send(response, send)

    async def _answer(self, request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        if path.startswith("/v2"):
            return await self._models.answer(request, path)
        handler = self._pages.get(path)
        if handler is None:
            raise RefusedError(404, "there is no such page")
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(405, "ask with GET", {"allow": "GET, HEAD"})
        return await handler(request)

    async def _health(self, request: Request) -> Response:
        figures = await self._loop.figures()
        health = figures["health"]
        status = 200 if health["ok"] else 503
        return json_response(health, status)

    async def _metrics(self, request: Request) -> Response:
        figures = await self._loop.figures()
        accept = request.headers.get("accept", "")
        body, content_type = exposition(figures, self._refused, accept, self._exports())
        return Response(body, content_type)

    async def _state(self, request: Request) -> Response:
        return json_response(live.state(await self._loop.figures()))

    async def _picture(self, request: Request) -> Response:
        return await self._pictures.latest()


def _reason(status: int) -> str:
    return {401: "no token", 403: "foreign", 413: "oversized", 503: "busy"}.get(status, "malformed")


async def _send(response: Response, send: Send) -> None:
    headers = {**_SAFE, **response.headers, "content-type": response.content_type}
    if response.status != 304:
        headers["content-length"] = str(len(response.body))
    start: MutableMapping[str, Any] = {
        "type": "http.response.start",
        "status": response.status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.body})
