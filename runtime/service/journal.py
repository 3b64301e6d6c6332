"""Lines of the log: with fields where journald reads them, plain on standard error elsewhere.

The journal's native protocol: systemd, docs/JOURNAL_NATIVE_PROTOCOL.md. ``journalctl MULTIGRAFT_EVENT=camera_lost``
then finds what a search in texts would miss.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""syslog(3)'s priorities."""


class Journal:
    """Writes events.

    Args:
        fields: Of every line, such as ``BUNDLE``; names in capitals, without the prefix.
        path: journald's socket.
        environment: Where systemd says whether standard error is the journal.
    """

    def __init__(
        self,
        fields: Mapping[str, str] | None = None,
        path: Path = SOCKET,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.fields = dict(fields or {})
        self._path = path
        self._socket: socket.socket | None = None
        if _is_journal(environment.get("JOURNAL_STREAM", "")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def write(self, priority: int, event: str, message: str, **fields: object) -> None:
        """One event.

        Args:
            priority: :data:`ERROR` to :data:`INFO`.
            event: One word with underscores, the field ``MULTIGRAFT_EVENT``.
            message: A sentence.
            fields: Further ones, in small letters.
        """
        if self._socket is not None:
            named = {**self.fields, **{name.upper(): str(value) for name, value in fields.items()}, "EVENT": event}
            record = {
                "MESSAGE": message,
                "PRIORITY": str(priority),
                "SYSLOG_IDENTIFIER": "multigraft",
                **{f"MULTIGRAFT_{name}": value for name, value in named.items()},
            }
            try:
                self._socket.sendto(b"".join(map(_field, record.items())), str(self._path))
                return
            except OSError:
                # journald is being restarted, or the record is larger than a datagram.
                pass
        print(f"multigraft: {message}", file=sys.stderr, flush=True)


def _field(item: tuple[str, str]) -> bytes:
    name, value = item
    raw = value.encode("utf-8", "replace")
    if b"\n" in raw:
        return name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    return f"{name}=".encode() + raw + b"\n"


def _is_journal(stream: str) -> bool:
    """Whether standard error is the stream that systemd connected to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        state = os.fstat(2)
    except OSError:
        return False
    return bool(stream) and stream == f"{state.st_dev}:{state.st_ino}"
