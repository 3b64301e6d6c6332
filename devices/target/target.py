"""A device that runs generated firmware, over any link: asks tasks, streams answers, reads what it says of itself."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.link import TIMEOUT_S, Link
from multigraft.devices.target.requests import Requests
from multigraft.devices.target.target_info import (
    TargetAnswer,
    TargetExit,
    TargetInfo,
    TargetMemory,
    TargetReset,
    TargetTensor,
    TensorStatistics,
)
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import Described, Kind
from multigraft.sounds.log_mel import Samples, check_samples
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Frame

STEPS_AT_ONCE = protocol.MAX_PAYLOAD // 4
MOST_PROFILES = 255 // STEPS_AT_ONCE + 1
"""A request names the first step in one byte."""

P = ParamSpec("P")
T = TypeVar("T")


def _operation(method: Callable[Concatenate[Target, P], T]) -> Callable[Concatenate[Target, P], T]:
    """The whole method is one operation, with one time limit."""

    @functools.wraps(method)
    def timed(self: Target, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._requests.operation():
            return method(self, *args, **kwargs)

    return timed


class Target:
    """A device with generated firmware; the link has to be open and is not closed here.

    Every request is sent again if no answer comes in time; the device executes it once. Every method (of :meth:`stream`
    every answer) ends within the time limit, whatever the device does. Data that go over the line at 2,000 bytes per
    second or more do not count against it. What the device says is checked against what it was asked and what it said
    before; all its inputs, all its outputs, or a picture may have 8 MiB.

    Args:
        link: An open link.
        clock: Seconds, monotonic.
        timeout_s: The time limit in seconds.

    Raises:
        DeviceError: Nothing answers, or what answers is no firmware of ours.
        UsageError: The time limit is no number of seconds.
    """

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S) -> None:
        self._link = link
        self._requests = Requests(link, clock, timeout_s)
        self._ask = self._requests.ask
        self.info = self._describe()

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return self._link.name

    @property
    def requests(self) -> Requests:
        """What asks it, for what has a module of its own."""
        return self._requests

    @_operation
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
        request = protocol.INFER_REQUEST.pack(mask)
        cycles, latency_us = self._ask(Kind.INFER, request, replies.inference(mask), works=True)
        return TargetAnswer({self.info.outputs[i].name: self._read(i) for i in outputs}, cycles, latency_us)

    def stream(self, count: int, tasks: Iterable[str] | None = None) -> Iterator[TargetAnswer]:
        """Let the device infer ``count`` times on what it senses and yield every answer.

        Outputs longer than a frame are cut. Leaving the loop early stops the device.

        Raises:
            UsageError: There is no such task, or the count is no number of the protocol.
            DeviceError: An answer does not come in time, or a part of one is lost.
        """
        if not 0 <= count < 2**32:
            raise UsageError(f"a stream cannot have {count} answers", "choose from 0 to 4294967295")
        mask, outputs = self._mask(tasks)
        self._requests.forget_events()
        self._ask(Kind.STREAM, protocol.STREAM_REQUEST.pack(mask, count), replies.nothing, works=True)
        try:
            for number in range(count):
                yield self._streamed(mask, number, outputs)
        except GeneratorExit:
            self._stop()
            raise
        except BaseException:
            # Also where the user interrupts it. Who does not answer is not waited for once more.
            self._requests.tell(Kind.STREAM, protocol.STREAM_REQUEST.pack(0, 0))
            raise
        self._stop()

    @_operation
    def _streamed(self, mask: int, number: int, outputs: list[int]) -> TargetAnswer:
        values: dict[str, Array] = {}
        cycles = latency_us = 0
        for index in outputs:
            tensor = self.info.outputs[index]
            event = replies.event(mask, number, index, tensor)
            data, cycles, latency_us = self._requests.next_event(event)
            array = np.frombuffer(data, tensor.dtype)
            values[tensor.name] = array.reshape(tensor.shape) if len(data) == tensor.bytes else array
        return TargetAnswer(values, cycles, latency_us)

    def _stop(self) -> None:
        # The device answers when it is done with the inference that it began.
        self._ask(Kind.STREAM, protocol.STREAM_REQUEST.pack(0, 0), replies.nothing, works=True)

    @_operation
    def capture(self) -> Frame:
        """Let the device take a picture and fetch it.

        Returns:
            uint8, height x width (grey) or height x width x 3 (RGB).

        Raises:
            DeviceError: The device has no camera, its camera fails, or it does not answer.
        """
        height, width, channels = self._ask(Kind.CAPTURE, b"", replies.picture_shape, works=True)
        if not height or not width or channels not in (1, 3):
            raise DeviceError(
                f"the device at {self.name} took a picture of {height} x {width} pixels, {channels} channels",
                "mg_camera_frame has to give at least one pixel, of 1 or 3 channels",
            )
        pixels = bytearray()
        while (left := height * width * channels - len(pixels)) > 0:
            request = protocol.READ_PICTURE_REQUEST.pack(len(pixels), min(left, protocol.MAX_PAYLOAD))
            pixels += self._data(Kind.READ_PICTURE, request, min(left, protocol.MAX_PAYLOAD))
        picture = np.frombuffer(pixels, np.uint8)
        return picture.reshape((height, width) if channels == 1 else (height, width, 3))

    @_operation
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
            raise DeviceError(f"the model on the device at {self.name} takes no sound", "write its inputs instead")
        data = samples.astype("<i2").tobytes()
        room = (protocol.MAX_PAYLOAD - protocol.HEAR_REQUEST.size) // 2 * 2
        rows: int | None = 0 if forget else None
        for offset in range(0, max(1, len(data)), room):
            piece = data[offset : offset + room]
            read = replies.rows_heard(rows, len(piece) // 2)
            request = protocol.HEAR_REQUEST.pack(int(forget and offset == 0)) + piece
            rows = self._ask(Kind.HEAR, request, read, works=True)
            self._requests.carried(len(piece))
        return rows or 0

    @_operation
    def statistics(self, clear: bool = False) -> dict[str, TensorStatistics]:
        """What went through the int8 and uint8 inputs and outputs since start-up or the last clearing, by name."""
        sums = {}
        for kind, tensors in ((Described.INPUT, self.info.inputs), (Described.OUTPUT, self.info.outputs)):
            for number, tensor in enumerate(tensors):
                request = protocol.STATISTICS_REQUEST.pack(kind, number, int(clear))
                sums[tensor.name] = self._ask(Kind.STATISTICS, request, replies.statistics(tensor))
        return sums

    def memory(self) -> TargetMemory:
        """What the image takes, and the peak of its stack so far."""
        return TargetMemory(*self._ask(Kind.MEMORY, b"", replies.fields(protocol.MEMORY_REPLY)))

    @_operation
    def step_cycles(self) -> list[int]:
        """Processor cycles of every step of the model in the last inference; 0 for those that were not needed.

        Raises:
            DeviceError: The firmware was built without ``PROFILE=1``, or the model has too many steps.
        """
        if not self.info.measures_steps:
            raise DeviceError(
                f"the firmware of the device at {self.name} does not measure steps", "build it with make PROFILE=1"
            )
        cycles: list[int] = []
        for _ in range(MOST_PROFILES):
            further = self._ask(Kind.PROFILE, protocol.PROFILE_REQUEST.pack(len(cycles)), replies.step_cycles)
            cycles += further
            if len(further) < STEPS_AT_ONCE:
                return cycles
        raise DeviceError(
            f"the model on the device at {self.name} has too many steps to ask for",
            "count them with: multigraft firmware report FOLDER --qemu",
        )

    def reset_reason(self) -> TargetReset:
        """Why the device last started."""
        return self._ask(Kind.RESET_REASON, b"", replies.reset_reason)

    def reset(self) -> None:
        """Start the device again and wait until it answers."""
        self._ask(Kind.RESET, b"", replies.nothing)
        self.info = self._describe(starts=True)

    @_operation
    def exits(self) -> dict[str, TargetExit]:
        """Early exits in running order, by name, and how many frames took them; empty without any.

        Where models of one image have exits of one name, the task stands before the name of all but the first.
        """
        found: dict[str, TargetExit] = {}
        read = replies.exit_of(list(self.info.tasks), [tensor.dtype for tensor in self.info.outputs])
        count = int(self.info.leaves_early)
        while len(found) < count:
            count, name, one = self._ask(Kind.EXIT, protocol.EXIT_REQUEST.pack(len(found)), read)
            name = f"{one.task}/{name}" if name in found else name
            if name in found:
                raise DeviceError(
                    f"the device at {self.name} has several exits called {name!r}", "generate the firmware again"
                )
            found[name] = one
        return found

    def forget(self) -> None:
        """Set what the model keeps between inferences to its initial values, and open all exits with new counts.

        Without variables and exits, nothing happens.
        """
        if self.info.keeps_variables or self.info.leaves_early:
            self._ask(Kind.FORGET, b"", replies.nothing)

    @_operation
    def _describe(self, starts: bool = False) -> TargetInfo:
        head = self._ask(Kind.INFO, b"", replies.head, works=starts)
        inputs = [self._tensor(Described.INPUT, number) for number in range(head.inputs)]
        outputs = [self._tensor(Described.OUTPUT, number) for number in range(head.outputs)]
        read = replies.task(head.outputs)
        tasks = [self._ask(Kind.DESCRIBE, bytes([Described.TASK, n]), read) for n in range(head.tasks)]
        for what, tensors in (("inputs", inputs), ("outputs", outputs)):
            if sum(tensor.bytes for tensor in tensors) > replies.MOST_BYTES:
                raise DeviceError(
                    f"the device at {self.name} says that its {what} have more than {replies.MOST_BYTES} bytes",
                    "flash firmware that this version generated, or choose another port",
                )
        for what, names in (
            ("inputs", [tensor.name for tensor in inputs]),
            ("outputs", [tensor.name for tensor in outputs]),
            ("tasks", [name for name, _ in tasks]),
        ):
            if len(set(names)) < len(names):
                raise DeviceError(
                    f"the device at {self.name} has several {what} of one name, of which it keeps 31 characters",
                    "give them shorter names, generate the firmware again and flash it",
                )
        return TargetInfo(
            head.board,
            head.model,
            head.digest,
            head.clock_hz,
            bool(head.flags & protocol.FLAG_UPDATE),
            bool(head.flags & protocol.FLAG_PROFILE),
            bool(head.flags & protocol.FLAG_VARIABLES),
            bool(head.flags & protocol.FLAG_SOUND),
            bool(head.flags & protocol.FLAG_EXITS),
            bool(head.flags & protocol.FLAG_LEARNS),
            tuple(inputs),
            tuple(outputs),
            dict(tasks),
        )

    def _tensor(self, kind: Described, number: int) -> TargetTensor:
        return self._ask(Kind.DESCRIBE, bytes([kind, number]), replies.tensor)

    def _mask(self, tasks: Iterable[str] | None) -> tuple[int, list[int]]:
        have = list(self.info.tasks)
        asked = have if tasks is None else list(tasks)
        for name in asked:
            if name not in have:
                raise UsageError(f"the device at {self.name} has no task {name!r}", f"choose from: {', '.join(have)}")
        mask = sum(1 << have.index(name) for name in set(asked))
        return mask, sorted({output for name in asked for output in self.info.tasks[name]})

    def _write(self, name: str, values: Array) -> None:
        names = [tensor.name for tensor in self.info.inputs]
        if name not in names:
            raise UsageError(f"the device at {self.name} has no input {name!r}", f"choose from: {', '.join(names)}")
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
            self._ask(Kind.WRITE_INPUT, request, replies.nothing)
            self._requests.carried(len(request))

    def _read(self, number: int) -> Array:
        tensor = self.info.outputs[number]
        data = bytearray()
        while (left := tensor.bytes - len(data)) > 0:
            count = min(protocol.MAX_PAYLOAD, left)
            data += self._data(Kind.READ_OUTPUT, protocol.READ_REQUEST.pack(number, len(data), count), count)
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)

    def _data(self, kind: Kind, request: bytes, count: int) -> bytes:
        data = self._ask(kind, request, replies.exactly(count))
        self._requests.carried(count)
        return data
