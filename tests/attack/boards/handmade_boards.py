"""Hostile boards of every kind that a person would think of first; those of :mod:`hostile_boards` come by chance."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from multigraft import serial_protocol as protocol
from multigraft.serial_protocol import Described, Kind, Message
from tests.attack.boards.hostile_boards import ASKED, EVENT, Board, Change, Sent, Talk, ever, frame

DTYPE, RANK, BYTES, SCALE, ZERO, SHAPE, NAME = 0, 1, 2, 3, 4, 5, 11
"""Places in a TENSOR_REPLY."""
EVERY = frozenset((*ASKED, EVENT))
WRONG_BIT = "one bit of an output is wrong"
"""``firmware verify`` has to find it."""


def _with(
    layout: struct.Struct, values: dict[int, Any], asked: Callable[[Message], bool] = lambda request: True
) -> Change:
    """Sets fields of replies with that layout to requests that fit."""

    def change(talk: Talk) -> Sent:
        if len(talk.reply.payload) != layout.size or not asked(talk.request):
            return [frame(talk.reply)]
        fields = list(layout.unpack(talk.reply.payload))
        for place, value in values.items():
            fields[place] = value
        return [talk.with_payload(layout.pack(*fields))]

    return change


def _describing(what: Described) -> Callable[[Message], bool]:
    return lambda request: request.payload[:1] == bytes([what])


def _tensor(name: str, values: dict[int, Any], what: Described = Described.OUTPUT) -> Board:
    return Board(name, frozenset({Kind.DESCRIBE}), _with(protocol.TENSOR_REPLY, values, _describing(what)))


def _shaped(*shape: int) -> dict[int, int]:
    padded = (*shape, *(0,) * (6 - len(shape)))
    return {RANK: len(shape), **{SHAPE + place: length for place, length in enumerate(padded)}}


def _task(name: str, values: dict[int, Any]) -> Board:
    return Board(name, frozenset({Kind.DESCRIBE}), _with(protocol.TASK_REPLY, values, _describing(Described.TASK)))


def _one(kind: Kind, name: str, layout: struct.Struct, values: dict[int, Any]) -> Board:
    return Board(name, frozenset({kind}), _with(layout, values))


def _always(kind: Kind, name: str, change: Change, first: int = 0, is_honest: bool = False) -> Board:
    return Board(name, frozenset({kind}), change, first, is_honest)


def _delayed(seconds: float) -> Change:
    def change(talk: Talk) -> Sent:
        return [seconds, frame(talk.reply)]

    return change


def _noise_drip(talk: Talk) -> Iterator[bytes | float]:
    while True:
        yield b"\x42"
        yield 1.0


def _echo(talk: Talk) -> Sent:
    return [frame(talk.request)]


def _deaf(talk: Talk) -> Sent:
    return [frame(talk.reply), 3600.0]


def _mlperf(talk: Talk) -> Sent:
    return [b"m-init-done\r\nm-ready\r\n"]


def _flipped_bit(talk: Talk) -> Sent:
    payload = talk.reply.payload
    return [talk.with_payload(bytes([payload[0] ^ 1]) + payload[1:])]


def _slow_picture(talk: Talk) -> Sent:
    """As large as may be, and each piece just in time."""
    if talk.request.kind == Kind.CAPTURE:
        return [talk.with_payload(protocol.CAPTURE_REPLY.pack(2048, 4096, 1))]
    return [
        0.9,
        frame(Message(talk.request.kind | protocol.REPLY, talk.request.sequence, bytes(talk.request.payload[4]))),
    ]


def _full_profile(talk: Talk) -> Sent:
    return [talk.with_payload(bytes(240))]


def _described_many(talk: Talk) -> Sent:
    """32 inputs, outputs and tasks, each answered as late as it may be."""
    kind, number = talk.request.payload
    fields = 3, 1, 1 << 22, 0.0, 0, 1 << 20, 0, 0, 0, 0, 0, b"tensor %d" % number
    payload = protocol.TENSOR_REPLY.pack(*fields)
    if kind == Described.TASK:
        payload = protocol.TASK_REPLY.pack(1, b"task %d" % number)
    return [0.1, frame(Message(Kind.DESCRIBE | protocol.REPLY, talk.request.sequence, payload))]


def _many(talk: Talk) -> Sent:
    if talk.request.kind == Kind.DESCRIBE:
        return _described_many(talk)
    return _with(protocol.INFO_REPLY, {3: 32, 4: 32, 5: 32})(talk)


def _event_fields(values: dict[int, Any]) -> Change:
    def change(talk: Talk) -> Sent:
        size = protocol.STREAM_EVENT.size
        fields = list(protocol.STREAM_EVENT.unpack_from(talk.reply.payload))
        for place, value in values.items():
            fields[place] = value
        return [talk.with_payload(protocol.STREAM_EVENT.pack(*fields) + talk.reply.payload[size:])]

    return change


def handmade() -> list[Board]:
    """All of them."""
    info, described = protocol.INFO_REPLY, protocol.TENSOR_REPLY
    escape = b"\x1b]0;owned\x07\x1b[2J"
    return [
        _tensor("an output of 4 GiB", {BYTES: 2**32 - 1, **_shaped(2**32 - 1)}),
        _tensor("an output of 4 GiB whose size wraps", {BYTES: 0, **_shaped(65536, 65536)}),
        _tensor("an output of 8 MiB in empty shape", {BYTES: 8 << 20, **_shaped()}),
        _tensor("an output of 8 MiB", {BYTES: 8 << 20, **_shaped(8 << 20)}),
        _tensor("outputs of 5 MiB each", {BYTES: 5 << 20, **_shaped(5 << 20)}),
        _tensor("an input of 2 GiB", {BYTES: 2**31, **_shaped(2**31)}, Described.INPUT),
        _tensor("an output without elements", {BYTES: 0, **_shaped(0)}),
        _tensor("a shape that is not its size", _shaped(7, 7)),
        _tensor("another size than the project's", {BYTES: 10, **_shaped(1, 10)}),
        _tensor("another type than the project's", {DTYPE: 1}),
        _tensor("another type and size", {DTYPE: 4, BYTES: 16, **_shaped(4), ZERO: 0}),
        _tensor("another input than the project's", {BYTES: 17, **_shaped(17)}, Described.INPUT),
        _tensor("the unknown type 6", {DTYPE: 6}),
        _tensor("the unknown type 255", {DTYPE: 255}, Described.INPUT),
        _tensor("7 dimensions", {RANK: 7}),
        _tensor("255 dimensions", {RANK: 255}),
        _tensor("a scale that is no number", {SCALE: math.nan}),
        _tensor("an infinite scale", {SCALE: math.inf}),
        _tensor("a negative scale", {SCALE: -1.0}),
        _tensor("a zero point beyond int8", {ZERO: -(2**31)}),
        _tensor("a name that steers a terminal", {NAME: escape}),
        _tensor("a name in another alphabet", {NAME: "выход".encode()}),
        _tensor("a name of C1 controls", {NAME: b"\x9b31m"}),
        _tensor("outputs of one name", {NAME: b"sum"}),
        _tensor("outputs without names", {NAME: b""}),
        _tensor("another name than the project's", {NAME: b"%s%n../../x"}, Described.INPUT),
        _task("a task without outputs", {0: 0}),
        _task("a task of all outputs there could be", {0: 2**32 - 1}),
        _task("a task of an output that is not there", {0: 4}),
        _task("tasks of one name", {1: b"mean"}),
        _task("a task that steers a terminal", {1: escape}),
        _one(Kind.INFO, "255 inputs, outputs and tasks", info, {3: 255, 4: 255, 5: 255}),
        _one(Kind.INFO, "no inputs, outputs and tasks", info, {3: 0, 4: 0, 5: 0}),
        _one(Kind.INFO, "a board that steers a terminal", info, {8: escape}),
        _one(Kind.INFO, "a model that steers a terminal", info, {9: escape}),
        _one(Kind.INFO, "another board", info, {8: b"toaster"}),
        _one(Kind.INFO, "another model", info, {7: bytes(32)}),
        _one(Kind.INFO, "another version", info, {0: 2}),
        _one(Kind.INFO, "payloads of 65,535 bytes", info, {1: 65535}),
        _one(Kind.INFO, "all flags", info, {2: 65535}),
        _one(Kind.INFO, "no flags", info, {2: 0}),
        _one(
            Kind.CAPTURE,
            "a picture of 65,535 squared in colour",
            protocol.CAPTURE_REPLY,
            dict(enumerate((65535, 65535, 3))),
        ),
        _one(Kind.CAPTURE, "a picture of 65,535 squared", protocol.CAPTURE_REPLY, dict(enumerate((65535, 65535, 1)))),
        _one(Kind.CAPTURE, "a picture of two channels", protocol.CAPTURE_REPLY, {2: 2}),
        _one(Kind.CAPTURE, "a picture of nothing", protocol.CAPTURE_REPLY, {0: 0}),
        _one(Kind.CAPTURE, "a picture that it does not have", protocol.CAPTURE_REPLY, {0: 2000}),
        Board(
            "a picture of 8 MiB, each piece just in time", frozenset({Kind.CAPTURE, Kind.READ_PICTURE}), _slow_picture
        ),
        _one(Kind.RESET_REASON, "an unknown reason", protocol.RESET_REPLY, {0: 99}),
        _one(Kind.STATISTICS, "statistics beyond the type", protocol.STATISTICS_REPLY, {2: -(2**31), 3: 2**31 - 1}),
        _one(
            Kind.STATISTICS,
            "statistics of extremes",
            protocol.STATISTICS_REPLY,
            {0: 2**32 - 1, 4: -(2**63), 5: 2**64 - 1},
        ),
        _one(Kind.MEMORY, "memory of extremes", protocol.MEMORY_REPLY, dict.fromkeys(range(6), 2**32 - 1)),
        _one(Kind.INFER, "tasks that nobody asked", protocol.INFER_REPLY, {0: 2**31}),
        _one(Kind.INFER, "cycles of extremes", protocol.INFER_REPLY, {1: 2**64 - 1, 2: 2**32 - 1}),
        _one(Kind.HEAR, "4 billion rows heard", protocol.HEAR_REPLY, {0: 2**32 - 1}),
        _one(Kind.UPDATE_SLOTS, "a running slot that is not there", protocol.UPDATE_SLOTS_REPLY, {0: 7}),
        _one(
            Kind.UPDATE_SLOTS, "slots of extremes", protocol.UPDATE_SLOTS_REPLY, dict.fromkeys(range(1, 5), 2**32 - 1)
        ),
        _one(Kind.UPDATE_BEGIN, "a slot that is not there", struct.Struct("<B"), {0: 7}),
        _always(Kind.READ_OUTPUT, "empty outputs for ever", lambda talk: [talk.with_payload(b"")]),
        _always(Kind.READ_PICTURE, "empty pictures for ever", lambda talk: [talk.with_payload(b"")]),
        _always(Kind.READ_OUTPUT, "one byte of an output at a time", lambda talk: [talk.with_payload(b"\1")]),
        _always(Kind.READ_OUTPUT, WRONG_BIT, _flipped_bit),
        _always(Kind.PROFILE, "steps for ever", _full_profile),
        _always(Kind.PROFILE, "three bytes of a step", lambda talk: [talk.with_payload(b"\1\2\3")]),
        _always(EVENT, "an event of one byte", lambda talk: [talk.with_payload(b"\1")]),
        _always(EVENT, "an event of an output that is not there", _event_fields({3: 200})),
        _always(EVENT, "an event that says it is longer", _event_fields({4: 255})),
        _always(EVENT, "an event of no bytes", _event_fields({4: 0})),
        _always(EVENT, "an event of other tasks", _event_fields({0: 0})),
        Board("32 tensors and tasks, each late", frozenset({Kind.INFO, Kind.DESCRIBE}), _many),
        Board("an echo", EVERY, _echo),
        Board("the dialogue of a benchmark", EVERY, _mlperf, is_honest=True),
        Board("silence", EVERY, lambda talk: [], is_honest=True),
        Board("one byte a second", EVERY, _noise_drip, is_honest=True),
        Board("every reply 0.9 s late", EVERY, _delayed(0.9), is_honest=True),
        Board("every reply 2.9 s late", EVERY, _delayed(2.9), is_honest=True),
        *(
            _always(
                kind, f"silence once asked for {kind.name}", ever(lambda talk: b"\0") if kind is Kind.INFER else _deaf
            )
            for kind in (Kind.INFO, Kind.INFER, Kind.WRITE_INPUT, Kind.CAPTURE, Kind.UPDATE_BEGIN, Kind.STREAM)
        ),
        Board(
            "a shape of arbitrary size", frozenset({Kind.DESCRIBE}), _with(described, {BYTES: 300, **_shaped(300, 1)})
        ),
    ]
