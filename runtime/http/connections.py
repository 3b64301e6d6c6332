"""Connections that cannot hold the server up: uvicorn's own protocol, with a limit on their number and on time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 200
"""More than are accepted in one turn, so that a new one is heard before it can be crowded out."""
HEAD_S = 5.0
"""For a connection to send the head of its first request."""
REQUEST_S = 30.0
"""From the first byte of a request to the last of its answer."""
IDLE_S = 5.0
"""Between two requests."""
HEAD_BYTES = 16 << 10


def bounded_protocol(counts: Counter[str]) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with the limits above.

    Where all connections are in use, the one that has been waiting longest for its client makes room for a new one.

    Args:
        counts: Is told what was refused: ``slow``, ``crowded``, ``malformed``.

    Raises:
        MissingDependencyError: uvicorn is not installed.
    """
    try:
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except Exception as error:
        raise MissingDependencyError(
            f"HTTP needs uvicorn, which is {how_missing(error)}", install_extra("serve")
        ) from error

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _is_refused = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > MOST_CONNECTIONS:
                waiting = [c for c in self.connections if isinstance(c, Bounded) and c is not self and c.is_waiting()]
                counts["crowded"] += 1
                (min(waiting, key=lambda c: c.since) if waiting else self).give_up()
            self.since = self.loop.time()
            self._set_deadline(HEAD_S)

        def is_waiting(self) -> bool:
            """Whether it is the client's turn."""
            return not self._is_refused and (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)

        def give_up(self) -> None:
            """Close, whatever is on the way."""
            self._is_refused = True
            self._clear_deadline()
            self.transport.abort()

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            was_idle = self.cycle is None or self.cycle.response_complete
            super().data_received(data)
            if was_idle and not self.transport.is_closing():
                started = self.cycle is not None and not self.cycle.response_complete
                if started or self._deadline is None:
                    self._set_deadline(REQUEST_S if started else HEAD_S)

        def on_response_complete(self) -> None:
            self._clear_deadline()
            self.since = self.loop.time()
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._clear_deadline()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            counts["malformed"] += 1
            super().send_400_response(msg)

        def _set_deadline(self, seconds: float) -> None:
            self._clear_deadline()
            if not self._is_refused:
                self._deadline = self.loop.call_later(seconds, self._late)

        def _clear_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            self._deadline = None
            counts["slow"] += 1
            self.give_up()

    return Bounded
