"""Requests to a device over a link that may lose or change bytes: each is sent again until its reply has come."""

from __future__ import annotations

import time
from collections.abc import Callable

from multigraft import serial_protocol as protocol
from multigraft.devices.target.link import Link
from multigraft.errors import DeviceError
from multigraft.serial_protocol import ErrorCode, Kind, Message

ATTEMPTS = 3
ANSWER_TIMEOUT_S = 1.0

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
    ErrorCode.WRONG_IMAGE: ("refused the image: too large, incomplete or with a wrong CRC", "build and send it again"),
}


class Requests:
    """Sends requests, matches replies by their sequence number, and puts events of a stream aside.

    Args:
        link: An open link.
        clock: Seconds, monotonic.
    """

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._clock = clock
        self._sequence = 0
        self._decoder = protocol.Decoder()
        self._heard = b""
        self._spoke = False
        self._events: list[Message] = []

    def send(self, kind: int, payload: bytes = b"", timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """Send a request until it is answered, at most :data:`ATTEMPTS` times; the payload of its reply.

        Raises:
            DeviceError: No answer came, or the device refuses.
        """
        self._sequence = (self._sequence + 1) & 0xFFFF
        # The delimiter in front ends whatever the device took for the beginning of a frame.
        request = protocol.DELIMITER + protocol.encode(Message(kind, self._sequence, payload))
        for _ in range(ATTEMPTS):
            self._link.write(request)
            reply = self._await(timeout_s)
            if reply is None:
                continue
            if reply.kind == Kind.ERROR | protocol.REPLY:
                problem, remedy = _MEANING[ErrorCode(reply.payload[0])]
                raise DeviceError(f"the device at {self._link.name} {problem}", remedy)
            if reply.kind == kind | protocol.REPLY:
                return reply.payload
        raise self._silence()

    def _silence(self) -> DeviceError:
        name, heard = self._link.name, self._heard
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

    def _await(self, timeout_s: float) -> Message | None:
        end = self._clock() + timeout_s
        while (left := end - self._clock()) > 0:
            reply = None
            for message in self._receive(left):
                if message.kind == Kind.STREAM_EVENT | protocol.REPLY:
                    self._events.append(message)
                elif message.sequence == self._sequence and message.kind & protocol.REPLY:
                    reply = message
            if reply is not None:
                return reply
        return None

    def forget_events(self) -> None:
        """Forget the events that came so far."""
        self._events.clear()

    def next_event(self, timeout_s: float) -> Message:
        """The next event of a stream.

        Raises:
            DeviceError: None came in time.
        """
        end = self._clock() + timeout_s
        while not self._events and (left := end - self._clock()) > 0:
            self._events += [m for m in self._receive(left) if m.kind == Kind.STREAM_EVENT | protocol.REPLY]
        if not self._events:
            raise DeviceError(f"the device at {self._link.name} stopped streaming", "reset it")
        return self._events.pop(0)

    def _receive(self, timeout_s: float) -> list[Message]:
        data = self._link.read(4096, timeout_s)
        self._heard = (self._heard + data)[-256:]
        messages = self._decoder.feed(data)
        self._spoke |= bool(messages)
        return messages
