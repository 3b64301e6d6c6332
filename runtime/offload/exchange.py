"""One HTTP connection that is kept, on which an exchange takes no longer and brings no more than it may.

A timeout of a socket counts from one byte to the next, so that a server which drips holds a device for hours. Here
every wait ends at the exchange's deadline, and a counter ends what is larger than asked for. Redirects are not
followed: they would take a token elsewhere.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multigraft.errors import DeviceError
from multigraft.reading import printable
from multigraft.runtime.offload.server_address import ServerAddress

MOST_HEAD_BYTES = 16 << 10
"""Of an answer's head, beside what its body may have."""
_BUFFER = 1 << 16


class ExchangeError(DeviceError):
    """A server gave no answer that can be used."""


@dataclass(frozen=True)
class Reply:
    """What a server said.

    Attributes:
        status: Of HTTP.
        headers: By name in small letters; the last of equals.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """Asks one server, one request after the other. Not for use from several threads at once.

    Args:
        address: Whom.

    Raises:
        ConfigurationError: Its certificates cannot be read.
    """

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self._context = address.context()
        self._connection: _Connection | None = None

    def ask(
        self,
        method: str,
        path: str,
        deadline: float,
        most_bytes: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """One exchange, on the connection of the one before where that is still open.

        Args:
            method: GET or POST.
            path: Behind the server's own.
            deadline: Of :func:`time.monotonic`, seconds.
            most_bytes: A body may have.
            headers: Beside the usual ones.
            body: What is sent.

        Raises:
            ExchangeError: There is no answer until the deadline, or none that is one.
        """
        was_kept = self._connection is not None
        try:
            return self._once(method, path, deadline, most_bytes, headers, body)
        except ExchangeError as error:
            # A server may close a connection that is kept at any moment. Inferences can be asked for twice.
            if not (was_kept and isinstance(error.__cause__, ConnectionError | http.client.RemoteDisconnected)):
                raise
        return self._once(method, path, deadline, most_bytes, headers, body)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(
        self, method: str, path: str, deadline: float, most: int, headers: Mapping[str, str] | None, body: bytes
    ) -> Reply:
        sent = {"Accept-Encoding": "identity", "User-Agent": "multigraft", **(headers or {})}
        if self.address.token is not None:
            sent["Authorization"] = f"Bearer {self.address.token}"
        try:
            if self._connection is None:
                self._connection = _Connection(self.address, self._context)
            connection = self._connection
            connection.limit(deadline, most + MOST_HEAD_BYTES)
            connection.request(method, self.address.path + path, body or None, sent)
            response = connection.getresponse()
            told = {name.lower(): text for name, text in response.getheaders()}
            content = response.read(most + 1)
            if len(content) > most:
                raise _TooLargeError
            if response.length:
                raise http.client.IncompleteRead(content, response.length)
            if not response.isclosed() or response.will_close:
                self.close()
            return Reply(response.status, told, content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise ExchangeError(f"{self.address.shown} {_why(error)}", "look at the server") from error
        except BaseException:
            self.close()
            raise


class _TooLargeError(OSError):
    """More bytes than were asked for."""


class _Connection(http.client.HTTPConnection):
    """http.client's, whose socket knows a deadline and counts."""

    def __init__(self, address: ServerAddress, context: ssl.SSLContext | None) -> None:
        super().__init__(address.host, address.port)
        self._server, self._context = address, context
        self._until, self._most = 0.0, 0

    def limit(self, deadline: float, most: int) -> None:
        """Bounds of the next exchange."""
        self._until, self._most = deadline, most
        if self.sock is not None:
            self.sock.limit(deadline, most)

    def connect(self) -> None:
        raw = self._reached()
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                raw.settimeout(_left(self._until))
                raw = self._context.wrap_socket(raw, server_hostname=self._server.host)
        except BaseException:
            raw.close()
            raise
        self.sock: Any = _BoundedSocket(raw)
        self.sock.limit(self._until, self._most)

    def _reached(self) -> socket.socket:
        """The first of the server's addresses that answers; all of them together have until the deadline."""
        found = _looked_up(self._server, self._until)
        failed = OSError("it has no address")
        for number, (family, kind, protocol, _, place) in enumerate(found):
            raw = None
            try:
                raw = socket.socket(family, kind, protocol)
                raw.settimeout(_left(self._until) / (len(found) - number))
                raw.connect(place)
            except OSError as error:
                failed = error
                if raw is not None:
                    raw.close()
            else:
                return raw
        raise failed


class _BoundedSocket:
    """As much of a socket as http.client needs."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._deadline, self._left_bytes = 0.0, 0

    def limit(self, deadline: float, most: int) -> None:
        self._deadline, self._left_bytes = deadline, most

    def sendall(self, data: bytes) -> None:
        # The timeout of sendall counts over the whole of it.
        self._raw.settimeout(_left(self._deadline))
        self._raw.sendall(data)

    def receive_into(self, buffer: memoryview) -> int:
        if self._left_bytes <= 0:
            raise _TooLargeError
        self._raw.settimeout(_left(self._deadline))
        taken = self._raw.recv_into(buffer[: self._left_bytes])
        self._left_bytes -= taken
        return taken

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self), _BUFFER)

    def close(self) -> None:
        self._raw.close()


class _Reading(io.RawIOBase):
    """Reads a bounded socket."""

    def __init__(self, bounded: _BoundedSocket) -> None:
        self._bounded = bounded

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._bounded.receive_into(memoryview(buffer).cast("B"))


def _looked_up(server: ServerAddress, deadline: float) -> list[Any]:
    """What :func:`socket.getaddrinfo` says of a server, which takes no deadline and waits for half a minute."""
    told: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            told.put(socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            told.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        found = told.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _why(error: Exception) -> str:
    """What happened, to stand behind the server's name."""
    if isinstance(error, _TooLargeError):
        return "sends more than was asked for"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({printable(error.verify_message)})"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "closed the connection"
    if isinstance(error, http.client.HTTPException):
        return f"does not speak HTTP ({type(error).__name__})"
    if isinstance(error, socket.gaierror):
        return "is not known by that name"
    return f"cannot be asked ({printable(getattr(error, 'strerror', None) or type(error).__name__)})"
