"""What the replies of a device may hold: each is checked against its request and against what any board can have.

A device is whatever answers at a port: another program, a damaged board, a hostile one. Nothing it says is taken before
it was checked here, and no size that it names is allocated beyond :data:`MOST_BYTES`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.devices.target.target_info import (
    TargetExit,
    TargetLearning,
    TargetReset,
    TargetSlots,
    TargetTensor,
    TensorStatistics,
)
from multigraft.serial_protocol import DataType, ErrorCode, Message, ResetReason

MOST_BYTES = 8 << 20
"""Of all inputs, all outputs, or a picture: twice the memory of the largest board."""
UNTOUCHED = (2**31 - 1, -(2**31))
"""Smallest and largest value of a tensor through which nothing went."""


class ReplyError(ValueError):
    """A reply is none to its request; the text completes "the device at PORT answers REQUEST with ..."."""


class LostEventError(ReplyError):
    """An event of a stream is not the next one."""


@dataclass(frozen=True)
class Head:
    """What INFO says."""

    board: str
    model: str
    digest: str
    clock_hz: int
    flags: int
    inputs: int
    outputs: int
    tasks: int


def exactly(count: int) -> Callable[[bytes], bytes]:
    """Reads a reply of so many bytes."""

    def read(reply: bytes) -> bytes:
        if len(reply) != count:
            raise ReplyError(f"{len(reply)} bytes where there have to be {count}")
        return reply

    return read


def nothing(reply: bytes) -> None:
    """Reads a reply that says no more than that the request was carried out."""
    exactly(0)(reply)


def fields(layout: struct.Struct) -> Callable[[bytes], tuple[Any, ...]]:
    """Reads the fields of a reply with a fixed layout."""
    return lambda reply: layout.unpack(exactly(layout.size)(reply))


def error_code(reply: bytes) -> ErrorCode:
    """Why a request was refused."""
    (code,) = fields(protocol.ERROR_REPLY)(reply)
    try:
        return ErrorCode(code)
    except ValueError:
        raise ReplyError(f"an error of the unknown number {code}") from None


def head(reply: bytes) -> Head:
    """Reads INFO."""
    read = fields(protocol.INFO_REPLY)(reply)
    version, most_payload, flags, inputs, outputs, tasks, clock_hz, digest, board, model = read
    if (version, most_payload) != (protocol.VERSION, protocol.MAX_PAYLOAD):
        raise ReplyError(f"version {version} and payloads of {most_payload} bytes")
    for what, count in (("inputs", inputs), ("outputs", outputs), ("tasks", tasks)):
        if count > protocol.MOST_TENSORS:
            raise ReplyError(f"{count} {what}, more than {protocol.MOST_TENSORS}")
    return Head(_text(board), _text(model), digest.hex(), clock_hz, flags, inputs, outputs, tasks)


def tensor(reply: bytes) -> TargetTensor:
    """Reads what DESCRIBE says of an input or output."""
    code, rank, size, scale, zero_point, *lengths, padded = fields(protocol.TENSOR_REPLY)(reply)
    name = _text(padded)
    try:
        dtype = DataType(code).name.lower()
    except ValueError:
        raise ReplyError(f"the unknown data type {code} of {name!r}") from None
    if rank > protocol.MOST_DIMENSIONS:
        raise ReplyError(f"{rank} dimensions of {name!r}, more than {protocol.MOST_DIMENSIONS}")
    shape = tuple(lengths[:rank])
    if not 0 < size <= MOST_BYTES or math.prod(shape) * np.dtype(dtype).itemsize != size:
        raise ReplyError(f"{size} bytes of {dtype} in the shape {shape} for {name!r}")
    limits = np.iinfo(dtype if dtype in ("int8", "uint8", "int16") else "int32")
    if not (0 <= scale < math.inf and limits.min <= zero_point <= limits.max):
        raise ReplyError(f"the scale {scale:g} and the zero point {zero_point} for {name!r}")
    return TargetTensor(name, dtype, shape, size, scale, zero_point)


def task(outputs: int) -> Callable[[bytes], tuple[str, tuple[int, ...]]]:
    """Reads what DESCRIBE says of a task of a model with so many outputs: its name and its outputs."""

    def read(reply: bytes) -> tuple[str, tuple[int, ...]]:
        mask, padded = fields(protocol.TASK_REPLY)(reply)
        name = _text(padded)
        if mask == 0 or mask >> outputs:
            raise ReplyError(f"the outputs {mask:#x} for {name!r}, of {outputs} that there are")
        return name, tuple(number for number in range(outputs) if mask >> number & 1)

    return read


def inference(mask: int) -> Callable[[bytes], tuple[int, int]]:
    """Reads cycles and microseconds of an inference of the tasks in ``mask``."""

    def read(reply: bytes) -> tuple[int, int]:
        answered, cycles, latency_us = fields(protocol.INFER_REPLY)(reply)
        if answered != mask:
            raise ReplyError(f"tasks {answered:#x} where {mask:#x} were asked")
        return cycles, latency_us

    return read


def event(mask: int, answer: int, index: int, whole: TargetTensor) -> Callable[[Message], tuple[bytes, int, int]]:
    """Reads an event of a stream: the beginning of an output that fits, cycles and microseconds.

    Args:
        mask: The tasks asked.
        answer: How many answers came before.
        index: Number of the output whose turn it is.
        whole: That output.
    """
    room = protocol.MAX_PAYLOAD - protocol.STREAM_EVENT.size

    def read(message: Message) -> tuple[bytes, int, int]:
        if len(message.payload) < protocol.STREAM_EVENT.size:
            raise ReplyError(f"an event of {len(message.payload)} bytes")
        answered, cycles, latency_us, number, size = protocol.STREAM_EVENT.unpack_from(message.payload)
        if answered != mask:
            raise ReplyError(f"tasks {answered:#x} where {mask:#x} were asked")
        if (message.sequence, number) != (answer & 0xFFFF, index):
            raise LostEventError
        data = message.payload[protocol.STREAM_EVENT.size :]
        count = min(whole.bytes, room)
        if not size == len(data) == count:
            raise ReplyError(f"{len(data)} bytes of {whole.name!r}, said to be {size}, where there have to be {count}")
        return data[: size - size % np.dtype(whole.dtype).itemsize], cycles, latency_us

    return read


def picture_shape(reply: bytes) -> tuple[int, int, int]:
    """Reads height, width and channels of the picture just taken."""
    height, width, channels = fields(protocol.CAPTURE_REPLY)(reply)
    if height * width * channels > MOST_BYTES:
        raise ReplyError(f"a picture of {height} x {width} x {channels} bytes, more than any board has")
    return height, width, channels


def rows_heard(before: int | None, samples: int) -> Callable[[bytes], int]:
    """Reads how many rows were heard after so many samples.

    Args:
        before: How many rows were heard before; None if nobody knows.
        samples: How many samples were heard since, of which none completes more than one row.
    """

    def read(reply: bytes) -> int:
        (rows,) = fields(protocol.HEAR_REPLY)(reply)
        if before is not None and not before <= rows <= before + samples:
            raise ReplyError(f"{rows} rows heard after {before} and {samples} samples more")
        return int(rows)

    return read


def statistics(of: TargetTensor) -> Callable[[bytes], TensorStatistics]:
    """Reads the sums over what went through a tensor."""
    limits = np.iinfo(of.dtype if of.dtype in ("int8", "uint8") else "int32")

    def read(reply: bytes) -> TensorStatistics:
        sums = TensorStatistics(*fields(protocol.STATISTICS_REPLY)(reply))
        span = sums.smallest, sums.largest
        if span != UNTOUCHED and not limits.min <= sums.smallest <= sums.largest <= limits.max:
            raise ReplyError(f"values from {sums.smallest} to {sums.largest} of {of.name!r}, which is {of.dtype}")
        return sums

    return read


def reset_reason(reply: bytes) -> TargetReset:
    """Reads why the device started."""
    reason, where, status = fields(protocol.RESET_REPLY)(reply)
    try:
        return TargetReset(ResetReason(reason), where, status)
    except ValueError:
        raise ReplyError(f"the unknown reason {reason}") from None


def step_cycles(reply: bytes) -> Sequence[int]:
    """Reads the cycles of some steps."""
    if len(reply) % 4:
        raise ReplyError(f"{len(reply)} bytes, which are no numbers of 4 bytes")
    return struct.unpack(f"<{len(reply) // 4}I", reply)


def exit_of(tasks: Sequence[str], outputs: Sequence[str]) -> Callable[[bytes], tuple[int, str, TargetExit]]:
    """Reads an early exit of a model with these tasks and types of outputs: how many there are, its name, and it."""

    def read(reply: bytes) -> tuple[int, str, TargetExit]:
        count, task, number, output, said, whole, is_open, in_doubt, *counts, padded = fields(protocol.EXIT_REPLY)(
            reply
        )
        name = _text(padded)
        if not 0 < count <= protocol.MOST_TENSORS or task >= len(tasks) or not 0 < number <= count:
            raise ReplyError(f"exit {number} of task {task} for {name!r}, of {count} exits and {len(tasks)} tasks")
        if max(output, said, whole) >= len(outputs):
            raise ReplyError(f"the outputs {output}, {said} and {whole} for {name!r}, of {len(outputs)} that there are")
        if outputs[said] != "int32":
            raise ReplyError(f"that {outputs[said]} in output {said} tells which exit answered, {name!r} for instance")
        places = (tasks[task], number, output, said, whole)
        return count, name, TargetExit(*places, bool(is_open), bool(in_doubt), *counts)

    return read


def learning(tasks: Sequence[str]) -> Callable[[bytes], TargetLearning]:
    """Reads what a device with these tasks learns."""

    def read(reply: bytes) -> TargetLearning:
        task, solved, classes, features, *counts, sums, layer, identity = fields(protocol.LEARNING_REPLY)(reply)
        if task >= len(tasks) or classes == 0 or features == 0:
            raise ReplyError(f"task {task}, {classes} classes and {features} features that it learns")
        n = features + 1
        if sums != 8 * classes * n + 2 * n * (n + 1) + 4 * classes or layer != classes * (12 + features):
            raise ReplyError(f"{sums} and {layer} bytes for {classes} classes of {features} features")
        if max(sums, layer) > MOST_BYTES:
            raise ReplyError(f"{max(sums, layer)} bytes that it learnt, more than any board has")
        most, of_class, frames = counts
        return TargetLearning(
            tasks[task], bool(solved), classes, features, most, of_class, frames, sums, layer, identity
        )  # fmt: skip

    return read


def slot(reply: bytes) -> int:
    """Reads which of the two slots an update goes to."""
    (number,) = exactly(1)(reply)
    if number > 1:
        raise ReplyError(f"slot {number} of two")
    return number


def slots(reply: bytes) -> TargetSlots:
    """Reads what runs and what may come into the other slot."""
    running, run_address, room, length, crc = fields(protocol.UPDATE_SLOTS_REPLY)(reply)
    if running > 1 and running != protocol.NO_SLOT:
        raise ReplyError(f"slot {running} of two")
    return TargetSlots(None if running == protocol.NO_SLOT else running, run_address, room, length, crc)


def _text(padded: bytes) -> str:
    """A name; whatever a terminal would obey is no name."""
    raw = padded.partition(b"\0")[0]
    text = raw.decode("latin-1")
    if not (raw.isascii() and text.isprintable()):
        raise ReplyError(f"a name that is no text ({raw!r})")
    return text
