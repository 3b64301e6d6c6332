"""Boards that do not answer as they should: a faithful one whose replies are changed, generated from a seed."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from multigraft import serial_protocol as protocol
from multigraft.serial_protocol import Kind, Message

Sent = Iterable[bytes | float | None]
"""Bytes that go out, seconds that nothing goes out, or None: the board is unplugged."""
Change = Callable[["Talk"], Sent]

EVENT = Kind.STREAM_EVENT
ASKED = tuple(kind for kind in Kind if kind not in (Kind.ERROR, EVENT))
FREQUENT = (Kind.DESCRIBE, Kind.READ_OUTPUT, Kind.READ_PICTURE, Kind.UPDATE_WRITE, Kind.STATISTICS)
"""What a command asks more than once."""
DRIP_S = 0.3
"""Between two bytes of a board that sends one now and then."""


@dataclass
class Talk:
    """One reply, or event, that a faithful board would send now.

    Attributes:
        request: What was asked.
        reply: It.
        number: How many this board sent before.
        before: The one before; None for the first.
        chance: Of this board.
    """

    request: Message
    reply: Message
    number: int
    before: Message | None
    chance: random.Random

    def with_payload(self, payload: bytes) -> bytes:
        """The reply's frame with another payload."""
        return frame(Message(self.reply.kind, self.reply.sequence, payload, self.reply.version))


@dataclass(frozen=True)
class Board:
    """What is at the other end.

    Attributes:
        name: What is wrong with it.
        kinds: The replies that it changes, by the requests' kinds.
        change: What it sends in their place.
        first: How many of these replies it leaves as they are before.
        is_honest: What it says is right where it says it well-formed and in time: a command that succeeds has to say
            what it says of the faithful board.
        seed: Of its chances.
    """

    name: str
    kinds: frozenset[int]
    change: Change
    first: int = 0
    is_honest: bool = False
    seed: int = 0


def frame(message: Message) -> bytes:
    """Its frame, also where the payload is longer than any may be."""
    body = protocol.HEADER.pack(message.version & 0xFF, message.kind & 0xFF, message.sequence & 0xFFFF)
    body += message.payload
    return protocol.cobs_encode(body + protocol.CRC.pack(zlib.crc32(body))) + protocol.DELIMITER


def _noise(chance: random.Random, count: int) -> bytes:
    return chance.randbytes(count).replace(b"\0", b"\1")


def flipped(talk: Talk) -> Sent:
    payload = bytearray(talk.reply.payload or b"\0")
    for _ in range(talk.chance.choice((1, 1, 2, 8))):
        payload[talk.chance.randrange(len(payload))] = talk.chance.randrange(256)
    yield talk.with_payload(bytes(payload))


def extreme(talk: Talk) -> Sent:
    payload = bytearray(talk.reply.payload)
    size = talk.chance.choice((1, 2, 4, 8))
    value = talk.chance.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 1 << 4 * size))
    at = talk.chance.randrange(max(1, len(payload) - size + 1))
    payload[at : at + size] = value.to_bytes(size, "little")
    yield talk.with_payload(bytes(payload[: max(len(talk.reply.payload), 1)]))


def shorter(talk: Talk) -> Sent:
    yield talk.with_payload(talk.reply.payload[: talk.chance.randrange(max(1, len(talk.reply.payload)))])


def longer(talk: Talk) -> Sent:
    more = talk.chance.randbytes(talk.chance.choice((1, 4, 100)))
    yield talk.with_payload((talk.reply.payload + more)[: protocol.MAX_PAYLOAD])


def too_long(talk: Talk) -> Sent:
    yield talk.with_payload(talk.reply.payload + bytes(talk.chance.choice((241, 5000))))


def empty(talk: Talk) -> Sent:
    yield talk.with_payload(b"")


def arbitrary(talk: Talk) -> Sent:
    yield talk.with_payload(talk.chance.randbytes(talk.chance.randrange(protocol.MAX_PAYLOAD + 1)))


def other_kind(talk: Talk) -> Sent:
    kind = talk.chance.choice((*ASKED, EVENT, 0x55)) | protocol.REPLY
    yield frame(Message(kind, talk.reply.sequence, talk.reply.payload))


def request_again(talk: Talk) -> Sent:
    yield frame(Message(talk.reply.kind & ~protocol.REPLY, talk.reply.sequence, talk.reply.payload))


def error(talk: Talk) -> Sent:
    code = talk.chance.choice((0, 1, 2, 5, 6, 9, 10, 11, 99, 255))
    yield frame(Message(Kind.ERROR | protocol.REPLY, talk.reply.sequence, bytes([code])))


def odd_error(talk: Talk) -> Sent:
    payload = talk.chance.choice((b"", b"\1\2", bytes(240)))
    yield frame(Message(Kind.ERROR | protocol.REPLY, talk.reply.sequence, payload))


def other_sequence(talk: Talk) -> Sent:
    sequence = talk.reply.sequence + talk.chance.choice((-1, 1, 0x100, 0x8000))
    yield frame(Message(talk.reply.kind, sequence, talk.reply.payload))


def other_version(talk: Talk) -> Sent:
    yield frame(Message(talk.reply.kind, talk.reply.sequence, talk.reply.payload, talk.chance.choice((0, 2, 255))))


def one_before(talk: Talk) -> Sent:
    yield frame(talk.before or talk.reply)


def one_before_renumbered(talk: Talk) -> Sent:
    yield talk.with_payload((talk.before or talk.reply).payload)


def repeated(talk: Talk) -> Sent:
    yield frame(talk.reply) * talk.chance.choice((2, 3, 50))


def after_events(talk: Talk) -> Sent:
    for number in range(talk.chance.choice((1, 50, 3000))):
        yield frame(Message(EVENT | protocol.REPLY, number, talk.chance.randbytes(40)))
    yield frame(talk.reply)


def after_noise(talk: Talk) -> Sent:
    yield _noise(talk.chance, talk.chance.choice((1, 100, 5000))) + protocol.DELIMITER
    yield frame(talk.reply)


def late(talk: Talk) -> Sent:
    yield talk.chance.uniform(0.1, 2.5)
    yield frame(talk.reply)


def drip(talk: Talk) -> Sent:
    for byte in frame(talk.reply):
        yield bytes([byte])
        yield DRIP_S


def silent(talk: Talk) -> Sent:
    return ()


def unplugged(talk: Talk) -> Sent:
    whole = frame(talk.reply)
    yield whole[: talk.chance.randrange(len(whole))]
    yield None


def half_frame(talk: Talk) -> Sent:
    whole = frame(talk.reply)
    yield whole[: talk.chance.randrange(1, len(whole))]


def wrong_crc(talk: Talk) -> Sent:
    damaged = bytearray(frame(talk.reply))
    damaged[talk.chance.randrange(len(damaged) - 1)] ^= talk.chance.randrange(1, 256)
    yield bytes(damaged)


def ever(what: Callable[[Talk], bytes]) -> Change:
    """The same for ever."""

    def change(talk: Talk) -> Iterator[bytes]:
        for _ in itertools.count():
            yield what(talk)

    return change


def _empty(talk: Talk) -> bytes:
    return talk.with_payload(b"")


def _other(talk: Talk) -> bytes:
    return frame(Message(talk.reply.kind, talk.reply.sequence + 7, talk.reply.payload))


def _event(talk: Talk) -> bytes:
    return frame(Message(EVENT | protocol.REPLY, talk.chance.randrange(1 << 16), talk.chance.randbytes(200)))


def _refusal(talk: Talk) -> bytes:
    return frame(Message(Kind.ERROR | protocol.REPLY, talk.reply.sequence + 1, b"\6"))


ENDLESS: dict[str, Change] = {
    "noise": ever(lambda talk: _noise(talk.chance, 4000)),
    "text": ever(lambda talk: b"booting...\r\n"),
    "zeros": ever(lambda talk: bytes(4000)),
    "replies to something else": ever(_other),
    "empty replies": ever(_empty),
    "its reply": ever(lambda talk: frame(talk.reply)),
    "events": ever(_event),
    "refusals of the next request": ever(_refusal),
    "a frame without end": ever(lambda talk: b"\xff" * 4000),
}

CHANGES: dict[str, tuple[Change, bool]] = {
    "bytes changed": (flipped, False),
    "an extreme number": (extreme, False),
    "cut short": (shorter, False),
    "made longer": (longer, False),
    "longer than a frame": (too_long, True),
    "emptied": (empty, False),
    "arbitrary": (arbitrary, False),
    "of another kind": (other_kind, False),
    "as a request": (request_again, True),
    "an error": (error, False),
    "an odd error": (odd_error, False),
    "of another number": (other_sequence, True),
    "of another version": (other_version, True),
    "the one before": (one_before, True),
    "the one before under this number": (one_before_renumbered, False),
    "repeated": (repeated, True),
    "after events": (after_events, False),
    "after noise": (after_noise, True),
    "late": (late, True),
    "byte by byte": (drip, True),
    "left out": (silent, True),
    "half, then unplugged": (unplugged, True),
    "half a frame": (half_frame, True),
    "with a wrong CRC": (wrong_crc, True),
    **{f"for ever {name}": (change, name in ("noise", "text", "zeros")) for name, change in ENDLESS.items()},
}
"""What replies are changed to, and whether what it says stays right."""


def generated(count: int, seed: int) -> list[Board]:
    """So many distinct boards, each change in turn."""
    chance = random.Random(seed)
    boards: dict[str, Board] = {}
    for what, (change, is_honest) in itertools.cycle(CHANGES.items()):
        if len(boards) == count:
            break
        kinds = chance.choice([(kind,) for kind in (*ASKED, EVENT)] + [(*ASKED, EVENT)] * 6)
        first = chance.choice((0, 0, 0, 1, 2, 5)) if len(kinds) > 1 or kinds[0] in FREQUENT else 0
        where = "every reply" if len(kinds) > 1 else Kind(kinds[0]).name
        name = f"{where} {what}" + (f", after {first}" if first else "")
        board = Board(name, frozenset(kinds), change, first, is_honest, chance.randrange(1 << 32))
        boards.setdefault(name, board)
    return list(boards.values())
