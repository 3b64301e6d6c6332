"""The generated firmware's own frame parser and requests, compiled for this machine: what is damaged gets no answer."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft import serial_protocol as protocol
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.serial_protocol import ErrorCode, Kind, Message
from tests.firmware_gen import tiny_model
from tests.firmware_gen.host import gcc
from tests.firmware_gen.project.test_serial_fuzz import HERE, SANITIZED

Dialogue = Callable[[bytes], list[Message]]
INFO = Message(Kind.INFO, 0xFFFF)
FIXED_LENGTHS = {
    Kind.INFO: 0,
    Kind.DESCRIBE: 2,
    Kind.INFER: protocol.INFER_REQUEST.size,
    Kind.READ_OUTPUT: protocol.READ_REQUEST.size,
    Kind.STREAM: protocol.STREAM_REQUEST.size,
    Kind.STATISTICS: protocol.STATISTICS_REQUEST.size,
    Kind.MEMORY: 0,
    Kind.RESET_REASON: 0,
    Kind.RESET: 0,
    Kind.CAPTURE: 0,
    Kind.READ_PICTURE: protocol.READ_PICTURE_REQUEST.size,
}


@pytest.fixture(scope="module")
def dialogue(tmp_path_factory: pytest.TempPathFactory) -> Dialogue:
    """What the firmware, freshly started, answers to some bytes."""
    folder: Path = tiny_model.write_project(BOARDS["mps2-an385"], tmp_path_factory.mktemp("dialogue"))
    sources = [f"target/{name}.c" for name in ("app", "app_frames", "app_model", "frames")]
    objects = []
    for source in (*sources, "src/model.c"):
        made = folder / (Path(source).stem + ".o")
        objects.append(str(gcc(folder, made, *SANITIZED, "-Itarget", "-Isrc", "-c", source)))
    host = str(HERE / "host_dialogue.c")
    program = gcc(folder, folder / "dialogue", *SANITIZED, "-Itarget", "-Isrc", host, *objects)

    def answers(sent: bytes) -> list[Message]:
        done = subprocess.run([str(program)], input=sent, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        decoder = protocol.Decoder()
        frames = decoder.feed(done.stdout)
        assert decoder.dropped == 0
        return frames

    return answers


def with_crc(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def on_the_wire(content: bytes) -> bytes:
    return protocol.cobs_encode(content) + protocol.DELIMITER


def content_of(frame: Message) -> bytes:
    return with_crc(protocol.HEADER.pack(frame.version, frame.kind, frame.sequence) + frame.payload)


def write_input(data: bytes, sequence: int) -> Message:
    return Message(Kind.WRITE_INPUT, sequence, protocol.WRITE_REQUEST.pack(0, 0) + data)


def infer(tasks: int, sequence: int) -> Message:
    return Message(Kind.INFER, sequence, protocol.INFER_REQUEST.pack(tasks))


def read_output(number: int, count: int, sequence: int) -> Message:
    return Message(Kind.READ_OUTPUT, sequence, protocol.READ_REQUEST.pack(number, 0, count))


def test_whole_frames_are_answered(dialogue: Dialogue) -> None:
    frame = np.arange(-8, 8, dtype=np.int8)
    requests = [write_input(frame.tobytes(), 1), infer(1, 2), read_output(0, 4, 3)]
    replies = dialogue(b"".join(map(protocol.encode, requests)))
    assert [(r.kind, r.sequence) for r in replies] == [(q.kind | protocol.REPLY, q.sequence) for q in requests]
    assert replies[2].payload == tiny_model.reference(frame)[0].tobytes()


def test_a_frame_with_any_bit_flipped_is_not_answered_and_changes_nothing(dialogue: Dialogue) -> None:
    zeros, ones = write_input(bytes(16), 1), content_of(write_input(bytes([4] * 16), 2))
    sent = protocol.encode(zeros)
    for bit in range(8 * len(ones)):
        damaged = bytearray(ones)
        damaged[bit // 8] ^= 1 << bit % 8
        sent += on_the_wire(bytes(damaged))
    replies = dialogue(sent + b"".join(map(protocol.encode, (infer(1, 3), read_output(0, 4, 4)))))
    assert [r.sequence for r in replies] == [1, 3, 4]
    assert replies[-1].payload == bytes(4)


def test_a_frame_with_bytes_lost_added_or_swapped_is_not_answered(dialogue: Dialogue) -> None:
    whole = content_of(write_input(bytes(range(1, 17)), 2))
    damaged = [whole[:at] + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] + b"\x55" + whole[at:] for at in range(len(whole) + 1)]
    damaged += [whole[:at] + whole[at + 1 : at + 2] + whole[at : at + 1] + whole[at + 2 :] for at in range(8, 20)]
    replies = dialogue(b"".join(map(on_the_wire, damaged)) + protocol.encode(INFO))
    assert [r.kind for r in replies] == [Kind.INFO | protocol.REPLY]


def test_what_is_no_encoding_is_not_answered(dialogue: Dialogue) -> None:
    encoded = protocol.encode(INFO)
    # Each code byte tells how many bytes follow: one too many, and the piece ends too early.
    sent = b"".join(encoded[:cut] + protocol.DELIMITER for cut in range(1, len(encoded) - 1))
    sent += bytes([encoded[0] + 1]) + encoded[1:]
    replies = dialogue(sent + encoded)
    assert [r.kind for r in replies] == [Kind.INFO | protocol.REPLY]


def test_a_piece_that_ends_early_does_not_go_on_in_what_came_before(dialogue: Dialogue) -> None:
    contents = (content_of(Message(Kind.INFO, 0x0101 + n)) for n in range(200))
    content = next(c for c in contents if 0 not in c)
    # Decoding is done in place: the first piece leaves the frame behind the place where the second one ends.
    first = on_the_wire(b"x" + content)
    second = bytes([len(content) + 1]) + protocol.DELIMITER
    assert dialogue(on_the_wire(content))
    assert dialogue(first + second) == []


def test_frames_too_short_or_too_long_are_not_answered(dialogue: Dialogue) -> None:
    header = protocol.HEADER.pack(protocol.VERSION, Kind.INFO, 7)
    short = b"".join(on_the_wire(with_crc(header[:length])) for length in range(len(header)))
    long = b"".join(
        on_the_wire(with_crc(protocol.HEADER.pack(protocol.VERSION, Kind.WRITE_INPUT, 7) + bytes([1] * length)))
        for length in (protocol.MAX_PAYLOAD + 1, protocol.MAX_PAYLOAD + 2, 300, 2000)
    )
    longest = Message(Kind.WRITE_INPUT, 8, bytes([1] * protocol.MAX_PAYLOAD))
    replies = dialogue(short + long + protocol.encode(longest))
    assert [(r.kind, r.sequence) for r in replies] == [(Kind.ERROR | protocol.REPLY, 8)]
    assert replies[0].payload == bytes([ErrorCode.OUT_OF_RANGE])


@pytest.mark.parametrize("kind", FIXED_LENGTHS, ids=lambda kind: kind.name.lower())
def test_a_request_of_the_wrong_length_is_refused(kind: Kind, dialogue: Dialogue) -> None:
    right = FIXED_LENGTHS[kind]
    lengths = [length for length in (right - 1, right + 1, protocol.MAX_PAYLOAD) if length >= 0]
    sent = b"".join(protocol.encode(Message(kind, n, bytes(length))) for n, length in enumerate(lengths, 1))
    replies = dialogue(sent)
    assert [(r.kind, r.sequence, r.payload) for r in replies] == [
        (Kind.ERROR | protocol.REPLY, n, bytes([ErrorCode.WRONG_LENGTH])) for n in range(1, len(lengths) + 1)
    ]


def test_data_may_follow_a_write_and_its_head_may_not_lack(dialogue: Dialogue) -> None:
    head = protocol.WRITE_REQUEST.size
    sent = b"".join(protocol.encode(Message(Kind.WRITE_INPUT, length, bytes(length))) for length in range(1, head + 18))
    for reply in dialogue(sent):
        # The tiny model's one input takes 16 bytes.
        wrong = ErrorCode.WRONG_LENGTH if reply.sequence < head else ErrorCode.OUT_OF_RANGE
        assert reply.payload == (b"" if head <= reply.sequence <= head + 16 else bytes([wrong])), reply


def test_kinds_that_are_not_there_are_refused(dialogue: Dialogue) -> None:
    kinds = [kind for kind in range(0x80) if kind not in (*FIXED_LENGTHS, Kind.WRITE_INPUT)]
    replies = dialogue(b"".join(protocol.encode(Message(kind, kind)) for kind in kinds))
    assert [r.sequence for r in replies] == kinds
    assert {r.payload for r in replies} == {bytes([ErrorCode.UNKNOWN_KIND])}


def test_replies_are_not_answered(dialogue: Dialogue) -> None:
    sent = b"".join(protocol.encode(Message(kind | protocol.REPLY, kind)) for kind in range(0x80))
    assert [r.sequence for r in dialogue(sent + protocol.encode(INFO))] == [INFO.sequence]


def test_another_version_is_refused(dialogue: Dialogue) -> None:
    versions = [v for v in range(256) if v != protocol.VERSION]
    replies = dialogue(b"".join(protocol.encode(Message(Kind.INFO, v, b"", v)) for v in versions))
    assert [(r.sequence, r.payload) for r in replies] == [(v, bytes([ErrorCode.WRONG_VERSION])) for v in versions]


def test_a_request_sent_again_is_answered_again_and_not_executed_twice(dialogue: Dialogue) -> None:
    statistics = protocol.STATISTICS_REQUEST.pack(protocol.Described.OUTPUT, 0, 0)
    once = protocol.encode(infer(1, 5))
    replies = dialogue(once * 3 + protocol.encode(Message(Kind.STATISTICS, 6, statistics)))
    assert [r.sequence for r in replies] == [5, 5, 5, 6]
    assert replies[0] == replies[1] == replies[2]
    assert protocol.STATISTICS_REPLY.unpack(replies[3].payload)[0] == 1
    # Another request of the same number is another request.
    replies = dialogue(once + protocol.encode(infer(2, 5)) + protocol.encode(Message(Kind.STATISTICS, 6, statistics)))
    assert [protocol.INFER_REPLY.unpack(r.payload)[0] for r in replies[:2]] == [1, 2]
