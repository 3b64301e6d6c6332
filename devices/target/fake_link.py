"""A device with firmware of ours without any hardware, for trying things out and for tests."""

from __future__ import annotations

import collections
import struct
import types
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft import serial_protocol as protocol
from multigraft.devices.target.fake_learning import FakeLearning, RefusedError
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.target_info import TargetTensor
from multigraft.errors import DeviceError
from multigraft.serial_protocol import Described, ErrorCode, Kind, Message
from multigraft.tensors.arrays import Array

MOST_IMAGE_BYTES = 1 << 20


@dataclass
class FakeFirmware:
    """What :class:`FakeLink` is connected to: answers requests as the C firmware does.

    Args:
        run: Arrays of all inputs to arrays of all outputs.
        tasks: Name to indices of outputs.
        camera: Takes a picture: uint8, HxW or HxWx3. None is a board without a camera.
        ears: Takes samples (int16) and whether to forget those before; gives the number of rows heard so far and arrays
            of all inputs. None is a model that takes no sound.
        step_cycles: Of every step of the model; empty is firmware that does not measure them.
        forget: Sets variables to their initial values. None is a model without variables.
        slot: Which of two slots runs; None is a board that takes no updates.
        learning: The layer that it solves anew; None is firmware that learns nothing.
        run_addresses: Of images in the slots. Where they differ, an update runs from the next start on.
    """

    inputs: Sequence[TargetTensor]
    outputs: Sequence[TargetTensor]
    tasks: dict[str, tuple[int, ...]]
    run: Callable[[list[Array]], list[Array]]
    board: str = "fake"
    model: str = "fake"
    digest: str = "00" * 32
    cycles: int = 1000
    received: list[Kind] = field(default_factory=list)
    camera: Callable[[], npt.NDArray[np.uint8]] | None = None
    ears: Callable[[npt.NDArray[np.int16], bool], tuple[int, list[Array]]] | None = None
    step_cycles: Sequence[int] = ()
    forget: Callable[[], None] | None = None
    slot: int | None = None
    learning: FakeLearning | None = None
    run_addresses: tuple[int, int] = (0x8010_0000, 0x8010_0000)

    def __post_init__(self) -> None:
        self._decoder = protocol.Decoder()
        self._running = b""
        self._committed: bytes | None = None
        self._start()

    def _start(self) -> None:
        self._staged = [bytearray(tensor.bytes) for tensor in self.inputs]
        self._outputs = [bytes(tensor.bytes) for tensor in self.outputs]
        self._sums = {
            (kind, number): [0, 0, 2**31 - 1, -(2**31), 0, 0]
            for kind, tensors in ((Described.INPUT, self.inputs), (Described.OUTPUT, self.outputs))
            for number in range(len(tensors))
        }
        self._picture = np.empty((0, 0, 1), np.uint8)
        self._last: tuple[int, int, bytes] = (-1, 0, b"")
        self._image: tuple[bytearray, int] | None = None
        self._run_committed()
        if self.learning is not None:
            self.learning.restart()
        self._reset_reason = getattr(self, "_reset_reason", protocol.ResetReason.POWER_ON)

    def receive(self, data: bytes) -> bytes:
        """What the device sends when it has received ``data``."""
        return b"".join(
            self._answer(message) for message in self._decoder.feed(data) if not message.kind & protocol.REPLY
        )

    def _answer(self, message: Message) -> bytes:
        crc = zlib.crc32(bytes([message.kind]) + message.payload)
        if message.kind != Kind.INFO and self._last[:2] == (message.sequence, crc):
            return self._last[2]
        events = b""
        try:
            if message.version != protocol.VERSION:
                raise RefusedError(ErrorCode.WRONG_VERSION)
            try:
                kind = Kind(message.kind)
            except ValueError:
                raise RefusedError(ErrorCode.UNKNOWN_KIND) from None
            self.received.append(kind)
            payload, events = self._execute(kind, message.payload)
            reply = Message(kind | protocol.REPLY, message.sequence, payload)
        except RefusedError as refused:
            code = protocol.ERROR_REPLY.pack(refused.code)
            reply = Message(Kind.ERROR | protocol.REPLY, message.sequence, code)
        encoded = protocol.encode(reply)
        self._last = (message.sequence, crc, encoded)
        return encoded + events

    def _execute(self, kind: Kind, payload: bytes) -> tuple[bytes, bytes]:
        handler = {
            Kind.INFO: self._info,
            Kind.DESCRIBE: self._describe,
            Kind.WRITE_INPUT: self._write,
            Kind.INFER: self._infer,
            Kind.READ_OUTPUT: self._read,
            Kind.STATISTICS: self._statistics,
            Kind.MEMORY: lambda payload: protocol.MEMORY_REPLY.pack(4096, 65536, 1024, 16384, 512, 256),
            Kind.RESET_REASON: lambda payload: protocol.RESET_REPLY.pack(self._reset_reason, 0, 0),
            Kind.RESET: self._reset,
            Kind.CAPTURE: self._capture,
            Kind.READ_PICTURE: self._read_picture,
            Kind.HEAR: self._hear,
            **({Kind.PROFILE: self._profile} if self.step_cycles else {}),
            **({Kind.FORGET: self._forget} if self.forget is not None else {}),
            **(self.learning.handlers() if self.learning is not None else {}),
            Kind.UPDATE_SLOTS: self._update_slots,
            Kind.UPDATE_BEGIN: self._update_begin,
            Kind.UPDATE_WRITE: self._update_write,
            Kind.UPDATE_COMMIT: self._update_commit,
        }.get(kind)
        try:
            if kind == Kind.STREAM:
                return b"", self._stream(payload)
            if handler is None:
                raise RefusedError(ErrorCode.UNKNOWN_KIND)
            return handler(payload), b""
        except struct.error:
            raise RefusedError(ErrorCode.WRONG_LENGTH) from None

    def _info(self, payload: bytes) -> bytes:
        flags = (
            (protocol.FLAG_SOUND if self.ears is not None else 0)
            | (protocol.FLAG_PROFILE if self.step_cycles else 0)
            | (protocol.FLAG_VARIABLES if self.forget is not None else 0)
            | (protocol.FLAG_LEARNS if self.learning is not None else 0)
            | (protocol.FLAG_UPDATE if self.slot is not None else 0)
        )
        return protocol.INFO_REPLY.pack(
            *(protocol.VERSION, protocol.MAX_PAYLOAD, flags),
            *(len(self.inputs), len(self.outputs), len(self.tasks), 1_000_000),
            *(bytes.fromhex(self.digest), self.board.encode()[:31], self.model.encode()[:23]),
        )

    def _describe(self, payload: bytes) -> bytes:
        kind, number = struct.unpack("<BB", payload)
        if kind == Described.TASK and number < len(self.tasks):
            name, outputs = list(self.tasks.items())[number]
            return protocol.TASK_REPLY.pack(sum(1 << output for output in outputs), name.encode()[:31])
        tensors = {Described.INPUT: self.inputs, Described.OUTPUT: self.outputs}.get(kind, ())
        if number >= len(tensors):
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        t = tensors[number]
        shape = (*t.shape, *(0,) * (6 - len(t.shape)))
        dtype = protocol.DataType[t.dtype.upper()]
        name = t.name.encode()[:31]
        return protocol.TENSOR_REPLY.pack(dtype, len(t.shape), t.bytes, t.scale, t.zero_point, *shape, name)

    def _write(self, payload: bytes) -> bytes:
        number, offset = protocol.WRITE_REQUEST.unpack(payload[: protocol.WRITE_REQUEST.size])
        data = payload[protocol.WRITE_REQUEST.size :]
        if number >= len(self.inputs) or offset + len(data) > self.inputs[number].bytes:
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        self._staged[number][offset : offset + len(data)] = data
        return b""

    def _hear(self, payload: bytes) -> bytes:
        if self.ears is None:
            raise RefusedError(ErrorCode.UNKNOWN_KIND)
        (forget,) = protocol.HEAR_REQUEST.unpack(payload[: protocol.HEAR_REQUEST.size])
        data = payload[protocol.HEAR_REQUEST.size :]
        rows, arrays = self.ears(np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.int16), bool(forget))
        self._staged = [bytearray(array.tobytes()) for array in arrays]
        return protocol.HEAR_REPLY.pack(rows)

    def _infer(self, payload: bytes) -> bytes:
        (mask,) = protocol.INFER_REQUEST.unpack(payload)
        self._run(mask)
        return protocol.INFER_REPLY.pack(mask, self.cycles, self.cycles)

    def _run(self, mask: int) -> list[int]:
        if mask == 0 or mask >> len(self.tasks):
            raise RefusedError(ErrorCode.NO_SUCH_TASK)
        arrays = [
            np.frombuffer(staged, t.dtype).reshape(t.shape) for staged, t in zip(self._staged, self.inputs, strict=True)
        ]
        results = self.run([array.copy() for array in arrays])
        if self.learning is not None:
            self.learning.answered(arrays, mask)
        wanted = sorted({o for bit, task in enumerate(self.tasks.values()) if mask >> bit & 1 for o in task})
        for number, array in enumerate(arrays):
            self._gather(Described.INPUT, number, array)
        for number in wanted:
            self._outputs[number] = results[number].tobytes()
            self._gather(Described.OUTPUT, number, results[number])
        return wanted

    def _gather(self, kind: Described, number: int, array: Array) -> None:
        if array.dtype in (np.int8, np.uint8):
            values, s = array.astype(np.int64), self._sums[kind, number]
            s[:2] = s[0] + 1, s[1] + values.size
            s[2:4] = min(s[2], int(values.min())), max(s[3], int(values.max()))
            s[4:] = s[4] + int(values.sum()), s[5] + int((values * values).sum())

    def _read(self, payload: bytes) -> bytes:
        number, offset, count = protocol.READ_REQUEST.unpack(payload)
        if number >= len(self.outputs) or offset + count > self.outputs[number].bytes or count > protocol.MAX_PAYLOAD:
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        data: bytes = self._outputs[number][offset : offset + count]
        return data

    def _stream(self, payload: bytes) -> bytes:
        mask, count = protocol.STREAM_REQUEST.unpack(payload)
        events = b""
        room = protocol.MAX_PAYLOAD - protocol.STREAM_EVENT.size
        for sequence in range(count):
            for number in self._run(mask):
                data = self._outputs[number][:room]
                head = protocol.STREAM_EVENT.pack(mask, self.cycles, self.cycles, number, len(data))
                events += protocol.encode(Message(Kind.STREAM_EVENT | protocol.REPLY, sequence, head + data))
        return events

    def _statistics(self, payload: bytes) -> bytes:
        kind, number, clear = protocol.STATISTICS_REQUEST.unpack(payload)
        if (kind, number) not in self._sums:
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        reply = protocol.STATISTICS_REPLY.pack(*self._sums[kind, number])
        if clear:
            self._sums[kind, number] = [0, 0, 2**31 - 1, -(2**31), 0, 0]
        return reply

    def _capture(self, payload: bytes) -> bytes:
        if self.camera is None:
            raise RefusedError(ErrorCode.NO_CAMERA)
        taken = self.camera()
        self._picture = taken if taken.ndim == 3 else taken[:, :, None]
        return protocol.CAPTURE_REPLY.pack(*self._picture.shape)

    def _read_picture(self, payload: bytes) -> bytes:
        offset, count = protocol.READ_PICTURE_REQUEST.unpack(payload)
        if offset + count > self._picture.size or count > protocol.MAX_PAYLOAD:
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        return self._picture.tobytes()[offset : offset + count]

    def _reset(self, payload: bytes) -> bytes:
        self._reset_reason = protocol.ResetReason.SOFTWARE
        self._start()
        return b""

    def _profile(self, payload: bytes) -> bytes:
        (first,) = protocol.PROFILE_REQUEST.unpack(payload)
        further = self.step_cycles[first : first + protocol.MAX_PAYLOAD // 4]
        return struct.pack(f"<{len(further)}I", *further)

    def _forget(self, payload: bytes) -> bytes:
        if self.forget is not None:
            self.forget()
        return b""

    def _update_slots(self, payload: bytes) -> bytes:
        if self.slot is None:
            raise RefusedError(ErrorCode.UNKNOWN_KIND)
        image = self._running if self._committed is None else b""
        return protocol.UPDATE_SLOTS_REPLY.pack(
            self.slot, self.run_addresses[1 - self.slot], MOST_IMAGE_BYTES, len(image), zlib.crc32(image)
        )

    def _update_begin(self, payload: bytes) -> bytes:
        if self.slot is None:
            raise RefusedError(ErrorCode.UNKNOWN_KIND)
        size, crc, *said = protocol.UPDATE_BEGIN_REQUEST.unpack(payload)
        if not protocol.IMAGE_INFO.size <= size <= MOST_IMAGE_BYTES:
            raise RefusedError(ErrorCode.WRONG_IMAGE)
        if protocol.IMAGE_INFO.pack(*said) != self._image_info():
            raise RefusedError(ErrorCode.OTHER_IMAGE)
        self._image, self._committed = (bytearray(size), crc), None
        return bytes([1 - self.slot])

    def _update_write(self, payload: bytes) -> bytes:
        (offset,) = protocol.UPDATE_WRITE_REQUEST.unpack(payload[: protocol.UPDATE_WRITE_REQUEST.size])
        data = payload[protocol.UPDATE_WRITE_REQUEST.size :]
        if self._image is None or offset + len(data) > len(self._image[0]):
            raise RefusedError(ErrorCode.WRONG_IMAGE)
        self._image[0][offset : offset + len(data)] = data
        return b""

    def _update_commit(self, payload: bytes) -> bytes:
        if self.slot is None or self._image is None or zlib.crc32(self._image[0]) != self._image[1]:
            raise RefusedError(ErrorCode.WRONG_IMAGE)
        if not self._image[0].endswith(self._image_info()):
            raise RefusedError(ErrorCode.OTHER_IMAGE)
        self._committed = bytes(self._image[0])
        self._image = None
        if len(set(self.run_addresses)) == 1:
            self._run_committed()
        return b""

    def _run_committed(self) -> None:
        if self.slot is not None and self._committed is not None:
            self.slot = 1 - self.slot
            self._running, self._committed = self._committed, None

    def _image_info(self) -> bytes:
        assert self.slot is not None
        return ImageInfo(self.run_addresses[1 - self.slot], self.board).packed()


class FakeLink:
    """Link adapter: a cable to a :class:`FakeFirmware`.

    Args:
        firmware: At the other end; None is a device that is silent.
        disturb: Called with everything that goes over the cable, either way; what it returns arrives.
    """

    name = "fake link"

    def __init__(self, firmware: FakeFirmware | None, disturb: Callable[[bytes], bytes] = lambda data: data) -> None:
        self._firmware = firmware
        self._disturb = disturb
        self._arrived: collections.deque[int] | None = None
        self._now_s = 0.0

    def clock(self) -> float:
        """Seconds; they pass only while nothing arrives, so that silence costs no time."""
        return self._now_s

    def __enter__(self) -> Self:
        self._arrived = collections.deque()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._arrived = None

    def write(self, data: bytes) -> None:
        arrived = self._opened()
        if self._firmware is not None:
            arrived.extend(self._disturb(self._firmware.receive(self._disturb(data))))

    def read(self, limit: int, timeout_s: float) -> bytes:
        arrived = self._opened()
        if not arrived:
            self._now_s += timeout_s
        return bytes(arrived.popleft() for _ in range(min(limit, len(arrived))))

    def _opened(self) -> collections.deque[int]:
        if self._arrived is None:
            raise DeviceError(f"{self.name} is not open", "use it in a with block")
        return self._arrived
