"""Messages between the process that infers and the one that speaks HTTP, over a pair of sockets.

What comes from the HTTP side is JSON and bytes, since that side is what strangers talk to; what goes there is pickled.
"""

from __future__ import annotations

import json
import pickle
from multiprocessing.connection import Connection
from typing import Any

MOST_BYTES = 64 << 20
"""Of one message: a picture of 16 million pixels in RGB, or a few large tensors."""
_HEADER = 1 << 20


class ChannelError(Exception):
    """The other side said what it should not."""


def ask_bytes(number: int, kind: str, header: dict[str, Any], body: bytes = b"") -> bytes:
    """A question of the HTTP side."""
    return json.dumps({"id": number, "kind": kind, **header}).encode() + b"\n" + body


def read_question(connection: Connection) -> tuple[dict[str, Any], memoryview]:
    """The next question: its header, which has ``id`` and ``kind``, and what follows it.

    Raises:
        ChannelError: It is none.
        EOFError: The other side is gone.
        OSError: Likewise, or it was longer than :data:`MOST_BYTES`.
    """
    raw = connection.recv_bytes(MOST_BYTES)
    end = raw.find(b"\n", 0, _HEADER)
    try:
        header = json.loads(raw[: max(0, end)])
        number, kind = header["id"], header["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise ChannelError(f"no question ({error})") from error
    if not isinstance(number, int) or not isinstance(kind, str):
        raise ChannelError("no question (id or kind)")
    return header, memoryview(raw)[end + 1 :]


def answer_bytes(number: int, answer: Any) -> bytes:
    """An answer of the inferring side: anything that pickles."""
    return pickle.dumps((number, answer), pickle.HIGHEST_PROTOCOL)


def read_answer(connection: Connection) -> tuple[int, Any]:
    """The next answer: the number of its question, and what was answered.

    Raises:
        EOFError: The inferring side is gone.
        OSError: Likewise.
    """
    number, answer = pickle.loads(connection.recv_bytes())
    return number, answer
