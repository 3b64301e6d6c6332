"""The process that speaks HTTP: ``python -m multigraft.runtime.http LISTENING CHANNEL``, two inherited descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections import Counter
from multiprocessing.connection import Connection

from multigraft.errors import MissingDependencyError, MultigraftError
from multigraft.installing import how_missing, install_extra
from multigraft.runtime.http.application import Application
from multigraft.runtime.http.connections import HEAD_BYTES, IDLE_S, bounded_protocol
from multigraft.runtime.http.guard import Guard
from multigraft.runtime.http.loop_side import LoopSide

NICENESS = 5
MOST_DATA = 768 << 20
"""Bytes of memory of this process's own: what is beyond fails here, and not in the loop."""
MOST_FILES = 512
BACKLOG = 128
HEARTBEAT_S = 5.0


def main(listening: int, channel: int) -> None:
    """Serve until the loop's end of the channel is closed.

    Raises:
        MissingDependencyError: uvicorn is not installed.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    asyncio.run(_serve(socket.socket(fileno=listening), LoopSide(Connection(channel))))


async def _serve(listening: socket.socket, loop: LoopSide) -> None:
    try:
        import uvicorn
    except Exception as error:
        raise MissingDependencyError(
            f"HTTP needs uvicorn, which is {how_missing(error)}", install_extra("serve")
        ) from error
    refused: Counter[str] = Counter()
    loop.start()
    settings = await loop.ask("settings")
    # Not before: on a busy machine the start would take minutes.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    application = Application(loop, Guard(settings["token"]), refused)
    heartbeat = asyncio.create_task(_beat(loop))
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
    heartbeat.cancel()


async def _beat(loop: LoopSide) -> None:
    """Let the loop see that this process is not stuck."""
    while True:
        with contextlib.suppress(Exception):
            await loop.ask("alive")
        await asyncio.sleep(HEARTBEAT_S)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except MultigraftError as failed:
        print(f"multigraft: {failed}", file=sys.stderr)
        sys.exit(failed.exit_code)
