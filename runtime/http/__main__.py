"""The process that speaks HTTP: ``python -m multigraft.runtime.http CHANNEL [LISTENING]``, inherited descriptors.

Without one to listen at it only tells an OpenTelemetry collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any

from multigraft.errors import MissingDependencyError, MultigraftError
from multigraft.installing import how_missing, install_extra
from multigraft.runtime.http.application import Application
from multigraft.runtime.http.connections import HEAD_BYTES, IDLE_S, bounded_protocol
from multigraft.runtime.http.guard import Guard
from multigraft.runtime.http.loop_side import PATIENCE_S, LoopSide
from multigraft.runtime.http.metrics import families
from multigraft.runtime.otlp.exporter import Exporter
from multigraft.runtime.otlp.exporting import Exporting

NICENESS = 5
MOST_DATA = 768 << 20
"""Bytes of memory of this process's own: what is beyond fails here, and not in the loop."""
MOST_FILES = 512
BACKLOG = 128
HEARTBEAT_S = 5.0


def main(channel: int, listening: int | None) -> None:
    """Serve until the loop's end of the channel is closed.

    Raises:
        MissingDependencyError: uvicorn is not installed.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    asyncio.run(_run(None if listening is None else socket.socket(fileno=listening), LoopSide(Connection(channel))))


async def _run(listening: socket.socket | None, loop: LoopSide) -> None:
    refused: Counter[str] = Counter()
    loop.start()
    settings = await loop.ask("settings")
    # Not before: on a busy machine the start would take minutes.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    heartbeat = asyncio.create_task(_beat(loop))
    ended = asyncio.Event()
    # uvicorn has its own handler while it serves, and raises the signal again, for this one, once it has ended.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    exporting = _exporting(loop, settings, refused) if settings.get("exports") else None
    if exporting is not None:
        exporting.start()
    if listening is None:
        await ended.wait()
    else:
        exports = (lambda: None) if exporting is None else exporting.to_json
        await _serve(listening, Application(loop, Guard(settings["token"]), refused, exports), refused)
    if exporting is not None:
        await asyncio.to_thread(exporting.stop)
    heartbeat.cancel()


async def _serve(listening: socket.socket, application: Application, refused: Counter[str]) -> None:
    try:
        import uvicorn
    except Exception as error:
        raise MissingDependencyError(
            f"HTTP needs uvicorn, which is {how_missing(error)}", install_extra("serve")
        ) from error
    config = uvicorn.Config(
        application,
        http=bounded_protocol(refused),
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=HEAD_BYTES,
        backlog=BACKLOG,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def _exporting(loop: LoopSide, settings: dict[str, Any], refused: Counter[str]) -> Exporting:
    """What tells a collector the same figures."""
    running = asyncio.get_running_loop()

    def now() -> Iterable[Any]:
        figures = asyncio.run_coroutine_threadsafe(loop.figures(), running).result(PATIENCE_S)
        return families(figures, refused, exporting.to_json())

    def tell(is_up: bool, sentence: str) -> None:
        told = loop.ask("exporting", {"up": is_up, "sentence": sentence})
        asyncio.run_coroutine_threadsafe(told, running)

    exporting = Exporting(Exporter(settings.get("started_ns", time.time_ns())), now, tell)
    return exporting


async def _beat(loop: LoopSide) -> None:
    """Let the loop see that this process is not stuck."""
    while True:
        with contextlib.suppress(Exception):
            await loop.ask("alive")
        await asyncio.sleep(HEARTBEAT_S)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    except MultigraftError as failed:
        print(f"multigraft: {failed}", file=sys.stderr)
        sys.exit(failed.exit_code)
