"""Requests to a device over a link that may lose or change bytes: each is sent again until its reply has come.

The device need not be one of ours: a reply has to have the sequence number, kind and form that the request asks for,
and neither noise, nor replies to something else, nor one byte now and then keep the workstation waiting for longer than
the time limit.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.link import TIMEOUT_S, Link
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import ErrorCode, Kind, Message

ATTEMPTS = 3
ANSWER_TIMEOUT_S = 1.0
"""After which a request that takes no work is sent again at the earliest."""
HELLO_TIMEOUT_S = 0.1
"""The same of INFO, the first request to a device: it is short, and one that has only just started often loses it."""
ANSWER_SHARE = TIMEOUT_S / ANSWER_TIMEOUT_S
"""It is one such part of the time limit: who gives a device longer has more patience for each request."""
LONGEST_TIMEOUT_S = 86_400.0
SLOWEST_BYTES_PER_S = 2000
"""A sixth of what 115,200 bits per second carry: data that arrive faster do not count against the time limit."""
SLOWEST_FLASH_BYTES_PER_S = 500
"""The same of data that a device writes to its flash before it answers."""
MOST_EVENTS = 1024
"""Of a stream, waiting to be read; older ones are forgotten, which is noticed by their numbers."""

_MEANING = {
    ErrorCode.UNKNOWN_KIND: ("does not know this request", "generate and flash the firmware again"),
    ErrorCode.WRONG_VERSION: ("speaks another version of the protocol", "generate and flash the firmware again"),
    ErrorCode.WRONG_LENGTH: ("got a request of the wrong length", "generate and flash the firmware again"),
    ErrorCode.OUT_OF_RANGE: ("was asked for what it does not have", "check names and sizes"),
    ErrorCode.NO_SUCH_TASK: ("has no such task", "choose from those it lists"),
    ErrorCode.MODEL_FAILED: ("could not run the model", "reset it"),
    ErrorCode.FLASH_FAILED: ("could not write its flash", "start the update again"),
    ErrorCode.NO_CAMERA: ("has no camera", "define mg_camera_frame in its firmware, build and flash it"),
    ErrorCode.CAMERA_FAILED: ("could not take a picture", "check its camera and reset it"),
    ErrorCode.NO_SUCH_CLASS: ("has no such class to learn", "choose one of those that the firmware was generated for"),
    ErrorCode.NO_FRAME: ("has answered no frame that it has not learnt", "let it answer a frame first"),
    ErrorCode.SUMS_FULL: ("can learn no more frames", "save what it learnt, or let it forget and begin anew"),
    ErrorCode.NOT_SOLVED: ("can solve nothing from what it learnt", "let it learn frames of a class first"),
    ErrorCode.OTHER_IMAGE: ("refused the image: it is of another board or slot", "build it for this board"),
    ErrorCode.NOT_IN_SLOT: (
        "runs an image that its boot loader did not start",
        "write both anew with multigraft flash --factory",
    ),
    ErrorCode.WRONG_IMAGE: ("refused the image: too large, incomplete or with a wrong CRC", "build and send it again"),
}

T = TypeVar("T")


def _pauses(whole_s: float) -> Iterator[float]:
    """Seconds that add up to ``whole_s``: each as long as all before it, at least :data:`HELLO_TIMEOUT_S`."""
    waited_s = 0.0
    while waited_s < whole_s:
        pause_s = min(max(HELLO_TIMEOUT_S, waited_s), whole_s - waited_s)
        yield pause_s
        waited_s += pause_s


class Requests:
    """Sends requests, matches replies by their sequence number, and puts events of a stream aside.

    Args:
        link: An open link.
        clock: Seconds, monotonic.
        timeout_s: Seconds that one :meth:`operation` may take.

    Raises:
        UsageError: The time limit is no number of seconds.
    """

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S) -> None:
        if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
            raise UsageError(
                f"a device cannot be given {timeout_s} s to answer", f"give it up to {LONGEST_TIMEOUT_S:.0f}"
            )
        self._link = link
        self._clock = clock
        self._timeout_s = timeout_s
        self._end: float | None = None
        self._sequence = 0
        self._decoder = protocol.Decoder()
        self._heard = b""
        self._spoke = False
        self._other: int | None = None
        self._events: collections.deque[Message] = collections.deque(maxlen=MOST_EVENTS)

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """All that is asked inside has to be answered within the time limit; an operation within one is part of it."""
        if self._end is not None:
            yield
            return
        self._end = self._clock() + self._timeout_s
        try:
            yield
        finally:
            self._end = None

    def carried(self, count: int, slowest: int = SLOWEST_BYTES_PER_S) -> None:
        """Lengthen the operation by what bytes that were asked for and went over the line may take.

        Args:
            count: How many bytes.
            slowest: As many may go over it per second.
        """
        if self._end is not None:
            self._end += count / slowest

    def ask(self, kind: Kind, payload: bytes, read: Callable[[bytes], T], works: bool = False) -> T:
        """:meth:`send`, and read the reply.

        Args:
            kind: What is asked.
            payload: With what.
            read: Makes the value of the reply's payload, or raises :class:`replies.ReplyError`.
            works: The device answers only after an inference or something else that takes time.

        Raises:
            DeviceError: No answer came in time, the device refuses, or its reply is none to this request.
        """
        reply = self.send(kind, payload, works)
        try:
            return read(reply)
        except replies.ReplyError as error:
            raise self._wrong(kind, str(error)) from None

    def send(self, kind: int, payload: bytes = b"", works: bool = False) -> bytes:
        """Send a request until it is answered; the payload of its reply.

        It is sent :data:`ATTEMPTS` times at most, and the later, the longer a device is given: a slow one reads, and
        answers, every copy. INFO alone comes to a device that may not listen yet: it is sent again after
        :data:`HELLO_TIMEOUT_S`, then at growing intervals, whatever the time limit.

        Raises:
            DeviceError: No answer came in time, or the device refuses.
        """
        self._sequence = (self._sequence + 1) & 0xFFFF
        request = self._frame(kind, payload)
        wait_s = max(ANSWER_TIMEOUT_S, self._timeout_s / (ATTEMPTS if works else ANSWER_SHARE))
        self._other = None
        with self.operation():
            assert self._end is not None
            for pause_s in _pauses(ATTEMPTS * wait_s) if kind == Kind.INFO else [wait_s] * ATTEMPTS:
                self._link.write(request)
                reply = self._await(kind, min(self._clock() + pause_s, self._end))
                if reply is not None:
                    return self._accepted(kind, reply)
                if self._clock() >= self._end:
                    break
            raise self._silence(kind, works or self._clock() >= self._end)

    def tell(self, kind: int, payload: bytes = b"") -> None:
        """Send a request without waiting for its reply; a link that is gone is no error."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        with contextlib.suppress(DeviceError):
            self._link.write(self._frame(kind, payload))

    def _frame(self, kind: int, payload: bytes) -> bytes:
        # The delimiter in front ends whatever the device took for the beginning of a frame.
        return protocol.DELIMITER + protocol.encode(Message(kind, self._sequence, payload))

    def _accepted(self, kind: int, reply: Message) -> bytes:
        if reply.version != protocol.VERSION:
            problem, remedy = _MEANING[ErrorCode.WRONG_VERSION]
            raise DeviceError(f"the device at {self._link.name} {problem}", remedy)
        if reply.kind == kind | protocol.REPLY:
            return reply.payload
        try:
            problem, remedy = _MEANING[replies.error_code(reply.payload)]
        except replies.ReplyError as error:
            raise self._wrong(kind, str(error)) from None
        raise DeviceError(f"the device at {self._link.name} {problem}", remedy)

    def _wrong(self, kind: int, what: str) -> DeviceError:
        asked = protocol.kind_name(kind)
        return DeviceError(
            f"the device at {self._link.name} answers {asked} with {what}",
            "flash firmware that this version generated, or choose another port",
        )

    def _silence(self, kind: int, is_late: bool) -> DeviceError:
        name, heard = self._link.name, self._heard
        if self._other is not None:
            return self._wrong(kind, f"a reply to {protocol.kind_name(self._other)}")
        if self._spoke and is_late:
            return DeviceError(
                f"the device at {name} stopped answering, or takes longer than {self._timeout_s:g} s",
                "ask again, as it may have started again, or let it take longer with --timeout",
            )
        if self._spoke:
            return DeviceError(f"the device at {name} stopped answering", "ask again: it may have started again")
        if b"m-ready" in heard:
            return DeviceError(
                f"the device at {name} runs the MLPerf Tiny dialogue", "build with make PROTOCOL=frames and flash it"
            )
        if heard.strip(b"\0"):
            return DeviceError(
                f"the device at {name} sends something else ({heard[:40]!r})", "flash it, or choose another port"
            )
        return DeviceError(f"the device at {name} does not answer", "check that it is flashed and reset it")

    def _await(self, kind: int, end: float) -> Message | None:
        wanted = (kind | protocol.REPLY, Kind.ERROR | protocol.REPLY)
        while (left := end - self._clock()) > 0:
            reply = None
            for message in self._receive(left):
                if message.kind == Kind.STREAM_EVENT | protocol.REPLY:
                    self._events.append(message)
                elif message.sequence == self._sequence and message.kind in wanted:
                    reply = message
                elif message.sequence == self._sequence and message.kind & protocol.REPLY:
                    # Perhaps of another program that had the port before; the right one may still come.
                    self._other = message.kind & ~protocol.REPLY
            if reply is not None:
                return reply
        return None

    def forget_events(self) -> None:
        """Forget the events that came so far."""
        self._events.clear()

    def next_event(self, read: Callable[[Message], T]) -> T:
        """The next event of a stream, read as :meth:`ask` does.

        Raises:
            DeviceError: None came in time, or it is none of this stream.
        """
        with self.operation():
            assert self._end is not None
            while not self._events and (left := self._end - self._clock()) > 0:
                self._events += [m for m in self._receive(left) if m.kind == Kind.STREAM_EVENT | protocol.REPLY]
        if not self._events:
            raise DeviceError(
                f"the device at {self._link.name} stopped streaming, or takes longer than {self._timeout_s:g} s",
                "reset it, or let it take longer with --timeout",
            )
        try:
            return read(self._events.popleft())
        except replies.LostEventError:
            raise DeviceError(f"{self._link.name} lost part of a stream", "start the stream again") from None
        except replies.ReplyError as error:
            raise self._wrong(Kind.STREAM, str(error)) from None

    def _receive(self, timeout_s: float) -> list[Message]:
        data = self._link.read(4096, timeout_s)
        self._heard = (self._heard + data)[-256:]
        messages = self._decoder.feed(data)
        self._spoke |= bool(messages)
        return messages
