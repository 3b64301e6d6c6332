"""What the HTTP process knows of the loop: questions over the channel, and their answers."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from multiprocessing.connection import Connection
from typing import Any

from multigraft.runtime.http.channel import ask_bytes, read_answer

PATIENCE_S = 20.0
"""For an answer; what is asked of the loop waits for the frame that is looked at."""
FRESH_S = 0.1
_LARGE = 1 << 16


class NoAnswerError(Exception):
    """The loop did not answer in time."""


class LoopSide:
    """Asks the loop.

    Args:
        connection: To it. The process ends when it is closed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._sending = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking = asyncio.Lock()
        self._figures: Any = None
        self._next_figures = 0.0

    def start(self) -> None:
        """Read answers from now on; called in the event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="answers", daemon=True).start()

    async def figures(self) -> Any:
        """What the loop tells of itself, at most :data:`FRESH_S` old: a flood of clients is no flood for the loop."""
        assert self._loop is not None
        async with self._asking:
            if self._loop.time() >= self._next_figures:
                self._figures = await self.ask("figures")
                self._next_figures = self._loop.time() + FRESH_S
            return self._figures

    async def ask(self, kind: str, header: dict[str, Any] | None = None, body: bytes = b"") -> Any:
        """The loop's answer.

        Raises:
            NoAnswerError: It gave none within :data:`PATIENCE_S`.
        """
        assert self._loop is not None
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        try:
            raw = ask_bytes(number, kind, header or {}, body)
            if len(raw) < _LARGE:
                self._send(raw)
            else:
                await self._loop.run_in_executor(None, self._send, raw)
            return await asyncio.wait_for(future, PATIENCE_S)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer to {kind} within {PATIENCE_S:g} s") from error
        finally:
            self._waiting.pop(number, None)

    def _send(self, raw: bytes) -> None:
        with self._sending:
            self._connection.send_bytes(raw)

    def _read(self) -> None:
        assert self._loop is not None
        try:
            while True:
                number, answer = read_answer(self._connection)
                self._loop.call_soon_threadsafe(self._answered, number, answer)
        except (EOFError, OSError, RuntimeError):
            # The loop has ended, and with it this process's reason to be.
            os._exit(0)

    def _answered(self, number: int, answer: Any) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(answer)
