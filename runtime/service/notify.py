"""What a service of ``Type=notify`` tells systemd: sd_notify(3) is one datagram, and needs no library."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

PATIENCE_S = 5.0
"""For what has to arrive."""
_PART = 4
"""The watchdog is fed this many times before it would bark."""


class Notifier:
    """Talks to the service manager, if one listens.

    Args:
        environment: Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` stand.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            with contextlib.suppress(OSError):
                self._socket.connect("\0" + address[1:] if address[0] == "@" else address)
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        is_mine = not pid or pid == str(os.getpid())
        self.watchdog_s: float | None = int(usec) / 1e6 if is_mine and usec.isascii() and usec.isdigit() else None
        self._next = 0.0

    def ready(self, status: str) -> None:
        """The service is up."""
        self._send(f"READY=1\nSTATUS={status}", PATIENCE_S)

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1", PATIENCE_S)

    def alive(self) -> None:
        """Feed the watchdog; called for every frame, it sends as often as is needed."""
        now = self._clock()
        if self.watchdog_s is not None and now >= self._next:
            self._next = now + self.watchdog_s / _PART
            self._send("WATCHDOG=1")

    def _send(self, state: str, wait_s: float = 0.0) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # A manager that does not read must not hold the loop up.
                self._socket.settimeout(wait_s)
                self._socket.send(state.encode())
