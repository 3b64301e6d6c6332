"""A device that runs generated firmware, over any link: asks tasks, streams answers, reads what it says of itself."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.devices.target.link import Link
from multigraft.devices.target.requests import Requests
from multigraft.devices.target.target_info import (
    TargetAnswer,
    TargetInfo,
    TargetMemory,
    TargetReset,
    TargetTensor,
    TensorStatistics,
)
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import Described, Kind, ResetReason
from multigraft.sounds.log_mel import Samples, check_samples
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Frame

INFERENCE_TIMEOUT_S = 30.0


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
        self._requests = Requests(link, clock)
        self._request = self._requests.send
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
        self._requests.forget_events()
        self._request(Kind.STREAM, protocol.STREAM_REQUEST.pack(mask, count))
        outputs_so_far: dict[str, Array] = {}
        try:
            for _ in range(count):
                for index in outputs:
                    event = self._requests.next_event(INFERENCE_TIMEOUT_S)
                    _, cycles, latency_us, number, size = protocol.STREAM_EVENT.unpack_from(event.payload)
                    if number != index:
                        raise DeviceError(f"{self._link.name} lost part of a stream", "start the stream again")
                    tensor = self.info.outputs[number]
                    data = event.payload[protocol.STREAM_EVENT.size :][:size]
                    whole = size == tensor.bytes
                    values = np.frombuffer(data, tensor.dtype)
                    outputs_so_far[tensor.name] = values.reshape(tensor.shape) if whole else values
                yield TargetAnswer(dict(outputs_so_far), cycles, latency_us)
        finally:
            self._request(Kind.STREAM, protocol.STREAM_REQUEST.pack(0, 0))

    def capture(self) -> Frame:
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

    def hear(self, samples: Samples, forget: bool = False) -> int:
        """Let the device hear samples; :meth:`infer` without inputs then answers on the last rows of their features.

        Args:
            samples: int16, one channel, at the rate that the model was made for.
            forget: Forget all samples heard before.

        Returns:
            Rows of features completed since samples were forgotten.

        Raises:
            DeviceError: The device's model takes no sound, or the device does not answer.
            InputError: The samples are of another type or shape.
        """
        check_samples(samples)
        if not self.info.hears:
            raise DeviceError(f"the model on {self.info.board} takes no sound", "write its inputs instead")
        data = samples.astype("<i2").tobytes()
        room = (protocol.MAX_PAYLOAD - protocol.HEAR_REQUEST.size) // 2 * 2
        rows = 0
        for offset in range(0, max(1, len(data)), room):
            request = protocol.HEAR_REQUEST.pack(int(forget and offset == 0)) + data[offset : offset + room]
            reply = self._request(Kind.HEAR, request, timeout_s=INFERENCE_TIMEOUT_S)
            (rows,) = protocol.HEAR_REPLY.unpack(reply)
        return int(rows)

    def statistics(self, clear: bool = False) -> dict[str, TensorStatistics]:
        """What went through the int8 and uint8 inputs and outputs since start-up or the last clearing, by name."""
        sums = {}
        for kind, tensors in ((Described.INPUT, self.info.inputs), (Described.OUTPUT, self.info.outputs)):
            for number, tensor in enumerate(tensors):
                request = protocol.STATISTICS_REQUEST.pack(kind, number, int(clear))
                reply = protocol.STATISTICS_REPLY.unpack(self._request(Kind.STATISTICS, request))
                sums[tensor.name] = TensorStatistics(*reply)
        return sums

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
            bool(flags & protocol.FLAG_SOUND),
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


def _text(padded: bytes) -> str:
    return padded.partition(b"\0")[0].decode("ascii", "replace")
