"""A device that runs generated firmware, over any link: asks tasks, streams answers, reads what it says of itself."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft import serial_protocol as protocol
from multigraft.devices.target.link import Link
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import Described, ErrorCode, Frame, Kind, ResetReason
from multigraft.tensors.arrays import Array

ATTEMPTS = 3
Picture = npt.NDArray[np.uint8]
ANSWER_TIMEOUT_S = 1.0
INFERENCE_TIMEOUT_S = 30.0

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


@dataclass(frozen=True)
class TargetTensor:
    """An input or output on the device; ``real = scale * (stored - zero_point)``, scale 0.0 if not quantised."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class TargetInfo:
    """What a device is. ``tasks`` maps names to indices of outputs, in the order of the mask's bits."""

    board: str
    model: str
    digest: str
    clock_hz: int
    takes_updates: bool
    measures_steps: bool
    keeps_variables: bool
    inputs: tuple[TargetTensor, ...]
    outputs: tuple[TargetTensor, ...]
    tasks: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class TargetAnswer:
    """Outputs by name (as stored, shape as on the device) and what the model alone took on the device."""

    outputs: dict[str, Array]
    cycles: int
    latency_us: int


@dataclass(frozen=True)
class TensorStatistics:
    """Mergeable sums over the stored values of a tensor."""

    inferences: int
    elements: int
    smallest: int
    largest: int
    sum: int
    sum_of_squares: int

    def __add__(self, other: TensorStatistics) -> TensorStatistics:
        return TensorStatistics(
            self.inferences + other.inferences,
            self.elements + other.elements,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.sum + other.sum,
            self.sum_of_squares + other.sum_of_squares,
        )


@dataclass(frozen=True)
class TargetMemory:
    """Bytes."""

    flash_used: int
    flash_there: int
    ram_used: int
    ram_there: int
    arena: int
    stack_peak: int


@dataclass(frozen=True)
class TargetReset:
    """Why the device started; for a fault, where and the processor's fault status."""

    reason: ResetReason
    program_counter: int
    status: int


class Target:
    """A device with generated firmware; the link has to be open and is not closed here.

    Every request is sent again if no answer comes in time; the device executes it once.

    Args:
        link: An open link.
        clock: Seconds, monotonic.

    Raises:
        DeviceError: Nothing answers, or what answers is no firmware of ours.
    """

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._clock = clock
        self._sequence = 0
        self._decoder = protocol.Decoder()
        self._heard = b""
        self._spoke = False
        self._events: list[Frame] = []
        self.info = self._describe()

    def infer(self, inputs: Mapping[str, Array] | None = None, tasks: Iterable[str] | None = None) -> TargetAnswer:
        """Run tasks (all by default) on the inputs given; those left out stay what they were.

        Args:
            inputs: Name to array of the tensor's dtype and number of bytes.

        Raises:
            UsageError: A name or size is not the device's.
            DeviceError: The device does not answer or cannot do it.
        """
        for name, values in (inputs or {}).items():
            self._write(name, values)
        mask, outputs = self._mask(tasks)
        reply = self._request(Kind.INFER, protocol.INFER_REQUEST.pack(mask), timeout_s=INFERENCE_TIMEOUT_S)
        _, cycles, latency_us = protocol.INFER_REPLY.unpack(reply)
        return TargetAnswer({self.info.outputs[i].name: self._read(i) for i in outputs}, cycles, latency_us)

    def stream(self, count: int, tasks: Iterable[str] | None = None) -> Iterator[TargetAnswer]:
        """Let the device infer ``count`` times on what it senses and yield every answer.

        Outputs longer than a frame are cut. Leaving the loop early stops the device.
        """
        mask, outputs = self._mask(tasks)
        self._events.clear()
        self._request(Kind.STREAM, protocol.STREAM_REQUEST.pack(mask, count))
        held: dict[str, Array] = {}
        try:
            for _ in range(count):
                for index in outputs:
                    event = self._next_event()
                    _, cycles, latency_us, number, size = protocol.STREAM_EVENT.unpack_from(event.payload)
                    if number != index:
                        raise DeviceError(f"{self._link.name} lost part of a stream", "start the stream again")
                    tensor = self.info.outputs[number]
                    data = event.payload[protocol.STREAM_EVENT.size :][:size]
                    whole = size == tensor.bytes
                    values = np.frombuffer(data, tensor.dtype)
                    held[tensor.name] = values.reshape(tensor.shape) if whole else values
                yield TargetAnswer(dict(held), cycles, latency_us)
        finally:
            self._request(Kind.STREAM, protocol.STREAM_REQUEST.pack(0, 0))

    def capture(self) -> Picture:
        """Let the device take a picture and fetch it.

        Returns:
            uint8, height x width (grey) or height x width x 3 (RGB).

        Raises:
            DeviceError: The device has no camera, its camera fails, or it does not answer.
        """
        reply = self._request(Kind.CAPTURE, timeout_s=INFERENCE_TIMEOUT_S)
        height, width, channels = protocol.CAPTURE_REPLY.unpack(reply)
        if not height or not width or channels not in (1, 3):
            raise DeviceError(
                f"the device at {self._link.name} took a picture of {height} x {width} pixels, {channels} channels",
                "mg_camera_frame has to give at least one pixel, of 1 or 3 channels",
            )
        pixels = bytearray()
        while (left := height * width * channels - len(pixels)) > 0:
            request = protocol.READ_PICTURE_REQUEST.pack(len(pixels), min(left, protocol.MAX_PAYLOAD))
            pixels += self._request(Kind.READ_PICTURE, request)
        picture = np.frombuffer(pixels, np.uint8)
        return picture.reshape((height, width) if channels == 1 else (height, width, 3))

    def statistics(self, clear: bool = False) -> dict[str, TensorStatistics]:
        """What went through the int8 and uint8 inputs and outputs since start-up or the last clearing, by name."""
        found = {}
        for kind, tensors in ((Described.INPUT, self.info.inputs), (Described.OUTPUT, self.info.outputs)):
            for number, tensor in enumerate(tensors):
                request = protocol.STATISTICS_REQUEST.pack(kind, number, int(clear))
                reply = protocol.STATISTICS_REPLY.unpack(self._request(Kind.STATISTICS, request))
                found[tensor.name] = TensorStatistics(*reply)
        return found

    def memory(self) -> TargetMemory:
        """What the image takes, and the peak of its stack so far."""
        return TargetMemory(*protocol.MEMORY_REPLY.unpack(self._request(Kind.MEMORY)))

    def step_cycles(self) -> list[int]:
        """Processor cycles of every step of the model in the last inference; 0 for those that were not needed.

        Raises:
            DeviceError: The firmware was built without ``PROFILE=1``.
        """
        if not self.info.measures_steps:
            raise DeviceError(
                f"the firmware on {self.info.board} does not measure steps", "build it with make PROFILE=1"
            )
        cycles: list[int] = []
        while reply := self._request(Kind.PROFILE, protocol.PROFILE_REQUEST.pack(len(cycles))):
            cycles += struct.unpack(f"<{len(reply) // 4}I", reply)
        return cycles

    def reset_reason(self) -> TargetReset:
        """Why the device last started."""
        reason, where, status = protocol.RESET_REPLY.unpack(self._request(Kind.RESET_REASON))
        return TargetReset(ResetReason(reason), where, status)

    def reset(self) -> None:
        """Start the device again and wait until it answers."""
        self._request(Kind.RESET)
        self.info = self._describe()

    def forget(self) -> None:
        """Set what the model keeps between inferences to its initial values; without variables, nothing happens."""
        if self.info.keeps_variables:
            self._request(Kind.FORGET)

    def update(self, image: bytes, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Write ``image`` into the slot that is not running; the device runs it from its next start on.

        Returns:
            The slot.

        Raises:
            DeviceError: The device takes no updates, or refuses the image. It keeps running what it ran.
        """
        if not self.info.takes_updates:
            raise DeviceError(f"{self.info.board} has no second slot", "flash it with multigraft flash")
        begin = protocol.UPDATE_BEGIN_REQUEST.pack(len(image), zlib.crc32(image))
        slot = self._request(Kind.UPDATE_BEGIN, begin, timeout_s=INFERENCE_TIMEOUT_S)[0]
        room = protocol.MAX_PAYLOAD - protocol.UPDATE_WRITE_REQUEST.size
        for offset in range(0, len(image), room):
            piece = image[offset : offset + room]
            self._request(Kind.UPDATE_WRITE, protocol.UPDATE_WRITE_REQUEST.pack(offset) + piece)
            progress(offset + len(piece), len(image))
        self._request(Kind.UPDATE_COMMIT, timeout_s=INFERENCE_TIMEOUT_S)
        return slot

    def _describe(self) -> TargetInfo:
        reply = self._request(Kind.INFO)
        if len(reply) != protocol.INFO_REPLY.size:
            raise DeviceError(f"{self._link.name} speaks another protocol", "flash firmware of this version")
        _, _, flags, inputs, outputs, tasks, clock_hz, digest, board, model = protocol.INFO_REPLY.unpack(reply)
        return TargetInfo(
            _text(board),
            _text(model),
            digest.hex(),
            clock_hz,
            bool(flags & protocol.FLAG_UPDATE),
            bool(flags & protocol.FLAG_PROFILE),
            bool(flags & protocol.FLAG_VARIABLES),
            tuple(self._tensor(Described.INPUT, number) for number in range(inputs)),
            tuple(self._tensor(Described.OUTPUT, number) for number in range(outputs)),
            dict(self._task(number) for number in range(tasks)),
        )

    def _tensor(self, kind: Described, number: int) -> TargetTensor:
        reply = protocol.TENSOR_REPLY.unpack(self._request(Kind.DESCRIBE, bytes([kind, number])))
        dtype, rank, size, scale, zero_point, *shape, name = reply
        dtype_name = protocol.DataType(dtype).name.lower()
        return TargetTensor(_text(name), dtype_name, tuple(shape[:rank]), size, scale, zero_point)

    def _task(self, number: int) -> tuple[str, tuple[int, ...]]:
        mask, name = protocol.TASK_REPLY.unpack(self._request(Kind.DESCRIBE, bytes([Described.TASK, number])))
        return _text(name), tuple(i for i in range(32) if mask >> i & 1)

    def _mask(self, tasks: Iterable[str] | None) -> tuple[int, list[int]]:
        have = list(self.info.tasks)
        asked = have if tasks is None else list(tasks)
        for name in asked:
            if name not in have:
                raise UsageError(f"{self.info.board} has no task {name!r}", f"choose from: {', '.join(have)}")
        mask = sum(1 << have.index(name) for name in set(asked))
        return mask, sorted({output for name in asked for output in self.info.tasks[name]})

    def _write(self, name: str, values: Array) -> None:
        names = [tensor.name for tensor in self.info.inputs]
        if name not in names:
            raise UsageError(f"{self.info.board} has no input {name!r}", f"choose from: {', '.join(names)}")
        number = names.index(name)
        tensor = self.info.inputs[number]
        data = np.ascontiguousarray(values).tobytes()
        if values.dtype != np.dtype(tensor.dtype) or len(data) != tensor.bytes:
            raise UsageError(
                f"input {name!r} takes {tensor.dtype} {tensor.shape}, not {values.dtype} {values.shape}",
                "prepare the frame as the bundle says",
            )
        room = protocol.MAX_PAYLOAD - protocol.WRITE_REQUEST.size
        for offset in range(0, len(data), room):
            request = protocol.WRITE_REQUEST.pack(number, offset) + data[offset : offset + room]
            self._request(Kind.WRITE_INPUT, request)

    def _read(self, number: int) -> Array:
        tensor = self.info.outputs[number]
        data = b""
        while len(data) < tensor.bytes:
            count = min(protocol.MAX_PAYLOAD, tensor.bytes - len(data))
            data += self._request(Kind.READ_OUTPUT, protocol.READ_REQUEST.pack(number, len(data), count))
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)

    def _request(self, kind: Kind, payload: bytes = b"", timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFF
        # The delimiter in front ends whatever the device took for the beginning of a frame.
        request = protocol.DELIMITER + protocol.encode(Frame(kind, self._sequence, payload))
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

    def _await(self, timeout_s: float) -> Frame | None:
        end = self._clock() + timeout_s
        while (left := end - self._clock()) > 0:
            reply = None
            for frame in self._receive(left):
                if frame.kind == Kind.STREAM_EVENT | protocol.REPLY:
                    self._events.append(frame)
                elif frame.sequence == self._sequence and frame.kind & protocol.REPLY:
                    reply = frame
            if reply is not None:
                return reply
        return None

    def _next_event(self) -> Frame:
        end = self._clock() + INFERENCE_TIMEOUT_S
        while not self._events and (left := end - self._clock()) > 0:
            self._events += [f for f in self._receive(left) if f.kind == Kind.STREAM_EVENT | protocol.REPLY]
        if not self._events:
            raise DeviceError(f"the device at {self._link.name} stopped streaming", "reset it")
        return self._events.pop(0)

    def _receive(self, timeout_s: float) -> list[Frame]:
        data = self._link.read(4096, timeout_s)
        self._heard = (self._heard + data)[-256:]
        frames = self._decoder.feed(data)
        self._spoke |= bool(frames)
        return frames


def _text(padded: bytes) -> str:
    return padded.partition(b"\0")[0].decode("ascii", "replace")
