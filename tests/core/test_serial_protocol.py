"""The frame format, as properties over arbitrary bytes, at its ends, and the numbers of the protocol."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft import serial_protocol as protocol
from multigraft.serial_protocol import Decoder, Kind, Message

frames = st.builds(
    Message, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=protocol.MAX_PAYLOAD), st.integers(0, 255)
)


@settings(derandomize=True)
@given(st.binary(max_size=1100))
def test_cobs_holds_no_zero_and_comes_back(data: bytes) -> None:
    encoded = protocol.cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert protocol.cobs_decode(encoded) == data


def test_cobs_is_that_of_the_paper() -> None:
    examples = {
        b"": b"\x01",
        b"\x00": b"\x01\x01",
        b"\x11\x22\x00\x33": b"\x03\x11\x22\x02\x33",
        b"\x11\x00\x00\x00": b"\x02\x11\x01\x01\x01",
        bytes(range(1, 255)): b"\xff" + bytes(range(1, 255)) + b"\x01",
        bytes(range(256)): b"\x01\xff" + bytes(range(1, 255)) + b"\x02\xff",
    }
    for data, encoded in examples.items():
        assert protocol.cobs_encode(data) == encoded
        assert protocol.cobs_decode(encoded) == data


@settings(derandomize=True)
@given(st.lists(frames, max_size=4), st.binary(max_size=300))
def test_frames_arrive_behind_any_garbage(sent: list[Message], garbage: bytes) -> None:
    decoder = Decoder()
    decoder.feed(garbage + protocol.DELIMITER)
    assert decoder.feed(b"".join(protocol.encode(frame) for frame in sent)) == sent


@settings(max_examples=50, derandomize=True)
@given(frames, st.data())
def test_a_damaged_frame_is_dropped(frame: Message, data: st.DataObject) -> None:
    encoded = bytearray(protocol.encode(frame))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    assert frame not in Decoder().feed(bytes(encoded) + b"\0")


def test_a_piece_without_end_takes_no_memory() -> None:
    decoder = Decoder()
    chance = random.Random(0)
    for _ in range(100):
        assert decoder.feed(bytes(chance.randrange(1, 256) for _ in range(500))) == []
    assert len(decoder._piece) <= protocol.MAX_ENCODED + 1
    assert decoder.feed(b"\0") == []
    assert decoder.dropped == 1


def test_a_frame_is_header_payload_and_crc_in_little_endian() -> None:
    """Version 1, kind 3, sequence 0x0102, payload 11 00 22; the CRC is that of zlib."""
    body = bytes([1, 3, 2, 1, 0x11, 0x00, 0x22])
    crc = zlib.crc32(body).to_bytes(4, "little")
    frame = protocol.encode(Message(Kind.WRITE_INPUT, 0x0102, b"\x11\x00\x22"))
    assert frame == protocol.cobs_encode(body + crc) + b"\0"
    assert frame[:7] == bytes([6, 1, 3, 2, 1, 0x11, 6])
    assert Decoder().feed(frame) == [Message(3, 0x0102, b"\x11\x00\x22", 1)]


def test_a_sequence_number_is_the_low_16_bits() -> None:
    (message,) = Decoder().feed(protocol.encode(Message(1, 0x12345)))
    assert message == Message(1, 0x2345, b"", protocol.VERSION)
    assert Decoder().feed(protocol.encode(Message(1, 0xFFFF)))[0].sequence == 0xFFFF


def test_a_payload_of_one_byte_too_many_is_refused() -> None:
    whole = Message(1, 2, b"\xff" * protocol.MAX_PAYLOAD)
    frame = protocol.encode(whole)
    assert len(frame) <= protocol.MAX_ENCODED + 1
    assert Decoder().feed(frame) == [whole]
    with pytest.raises(ValueError) as caught:
        protocol.encode(Message(1, 2, b"\xff" * 241))
    assert str(caught.value) == "payload of 241 bytes; at most 240 fit"


def test_no_longer_frame_is_taken_though_its_crc_is_right() -> None:
    """One byte more than the longest payload, encoded by hand; and a frame without room for a header."""
    body = protocol.HEADER.pack(1, 2, 3) + bytes(241)
    decoder = Decoder()
    assert decoder.feed(protocol.cobs_encode(body + protocol.CRC.pack(zlib.crc32(body))) + b"\0") == []
    assert decoder.dropped == 1
    short = protocol.HEADER.pack(1, 2, 3)[:-1]
    assert decoder.feed(protocol.cobs_encode(short + protocol.CRC.pack(zlib.crc32(short))) + b"\0") == []
    assert decoder.dropped == 2
    least = protocol.HEADER.pack(1, 2, 3)
    frame = protocol.cobs_encode(least + protocol.CRC.pack(zlib.crc32(least))) + b"\0"
    assert decoder.feed(frame) == [Message(2, 3)] and decoder.dropped == 2


@pytest.mark.parametrize("extra", [0, 1, 2, 500])
def test_the_longest_piece_is_looked_at_and_a_longer_one_is_dropped_whole(extra: int) -> None:
    """Each 1 in front stands for one 0 byte more in the body: valid COBS, and no frame."""
    whole = Message(1, 2, b"\xff" * protocol.MAX_PAYLOAD)
    frame = protocol.encode(whole)
    decoder = Decoder()
    assert decoder.feed(b"\x01" * extra + frame) == ([whole] if extra == 0 else [])
    assert decoder.dropped == (extra > 0)
    assert decoder.feed(frame) == [whole]


@pytest.mark.parametrize("extra", [1, 2, 500])
def test_a_piece_that_goes_on_behind_the_longest_frame_is_dropped_whole(extra: int) -> None:
    whole = Message(1, 2, b"\xff" * protocol.MAX_PAYLOAD)
    frame = protocol.encode(whole)
    assert len(frame) == protocol.MAX_ENCODED + 1
    decoder = Decoder()
    assert decoder.feed(frame[:-1] + b"\x01" * extra + b"\0") == [] and decoder.dropped == 1


def test_pieces_may_come_in_any_slices_and_empty_ones_are_nothing() -> None:
    sent = [Message(1, 1, b"a"), Message(2, 2), Message(3, 3, b"\0\0")]
    stream = b"\0\0" + b"\0".join(protocol.encode(m) for m in sent) + b"\0"
    decoder, found = Decoder(), []
    for byte in stream:
        found += decoder.feed(bytes([byte]))
    assert found == sent and decoder.dropped == 0
    assert decoder.feed(b"\x05garbage\0") == [] and decoder.feed(b"\x03\x01\0") == [] and decoder.dropped == 2


@pytest.mark.parametrize(
    "data", [b"\x02", b"\x03\x01", b"\x01\x00", b"\x02\x00", b"\x00", b"\x01\x03\x01", b"\x03\x01\x00"]
)
def test_what_is_no_encoding_is_refused(data: bytes) -> None:
    assert protocol.cobs_decode(data) is None


def test_a_group_of_254_bytes_stands_for_no_zero() -> None:
    run = bytes(range(1, 255))
    for data, encoded in (
        (run, b"\xff" + run + b"\x01"),
        (run + b"\0", b"\xff" + run + b"\x01\x01"),
        (run[:-1] + b"\0", b"\xfe" + run[:-1] + b"\x01"),
        (run + run + b"\x07", b"\xff" + run + b"\xff" + run + b"\x02\x07"),
    ):
        assert protocol.cobs_encode(data) == encoded
        assert protocol.cobs_decode(encoded) == data
    # The shorter form, which other encoders write for a run that ends the data.
    assert protocol.cobs_decode(b"\xff" + run) == run
    assert protocol.cobs_decode(b"") == b""


NUMBERS = {
    "IMAGE_MAGIC": 0x676D696D, "IMAGE_INFO_BYTES": 32,
    "VERSION": 1, "MAX_PAYLOAD": 240, "MAX_FRAME": 248, "MAX_ENCODED": 249, "HEADER_BYTES": 4, "REPLY": 128,
    "FLAG_UPDATE": 1, "FLAG_PROFILE": 2, "FLAG_VARIABLES": 4, "FLAG_SOUND": 8, "FLAG_EXITS": 16,
    "FLAG_LEARNS": 32,
    "KIND_INFO": 1, "KIND_DESCRIBE": 2, "KIND_WRITE_INPUT": 3, "KIND_INFER": 4, "KIND_READ_OUTPUT": 5,
    "KIND_STREAM": 6, "KIND_STATISTICS": 7, "KIND_MEMORY": 8, "KIND_RESET_REASON": 9, "KIND_RESET": 10,
    "KIND_PROFILE": 11, "KIND_FORGET": 12, "KIND_CAPTURE": 13, "KIND_READ_PICTURE": 14, "KIND_HEAR": 15,
    "KIND_UPDATE_BEGIN": 16,
    "KIND_UPDATE_WRITE": 17, "KIND_UPDATE_COMMIT": 18, "KIND_EXIT": 19, "KIND_LEARNING": 20,
    "KIND_LEARN": 21, "KIND_SOLVE": 22, "KIND_UNLEARN": 23, "KIND_READ_LEARNT": 24,
    "KIND_WRITE_LEARNT": 25, "KIND_UPDATE_SLOTS": 26, "KIND_ERROR": 127, "KIND_STREAM_EVENT": 64,
    "ERROR_UNKNOWN_KIND": 1, "ERROR_WRONG_VERSION": 2, "ERROR_WRONG_LENGTH": 3, "ERROR_OUT_OF_RANGE": 4,
    "ERROR_NO_SUCH_TASK": 5, "ERROR_MODEL_FAILED": 6, "ERROR_FLASH_FAILED": 7, "ERROR_WRONG_IMAGE": 8,
    "ERROR_NO_CAMERA": 9, "ERROR_CAMERA_FAILED": 10, "ERROR_NO_SUCH_CLASS": 11, "ERROR_NO_FRAME": 12,
    "ERROR_SUMS_FULL": 13, "ERROR_NOT_SOLVED": 14, "ERROR_OTHER_IMAGE": 15, "ERROR_NOT_IN_SLOT": 16,
    "LEARNT_SUMS": 0, "LEARNT_LAYER": 1,
    "DESCRIBED_INPUT": 0, "DESCRIBED_OUTPUT": 1, "DESCRIBED_TASK": 2,
    "DTYPE_INT8": 0, "DTYPE_UINT8": 1, "DTYPE_INT16": 2, "DTYPE_INT32": 3, "DTYPE_FLOAT32": 4, "DTYPE_BOOL": 5,
    "RESET_UNKNOWN": 0, "RESET_POWER_ON": 1, "RESET_PIN": 2, "RESET_SOFTWARE": 3, "RESET_WATCHDOG": 4,
    "RESET_FAULT": 5,
    "INFO_REPLY_BYTES": 100, "TENSOR_REPLY_BYTES": 70, "TASK_REPLY_BYTES": 36, "WRITE_REQUEST_BYTES": 5,
    "INFER_REQUEST_BYTES": 4, "INFER_REPLY_BYTES": 16, "READ_REQUEST_BYTES": 6, "STREAM_REQUEST_BYTES": 8,
    "STATISTICS_REQUEST_BYTES": 3, "STATISTICS_REPLY_BYTES": 32, "MEMORY_REPLY_BYTES": 24, "RESET_REPLY_BYTES": 9,
    "UPDATE_SLOTS_REPLY_BYTES": 17, "UPDATE_BEGIN_REQUEST_BYTES": 40, "UPDATE_WRITE_REQUEST_BYTES": 4,
    "CAPTURE_REPLY_BYTES": 5,
    "READ_PICTURE_REQUEST_BYTES": 5, "HEAR_REQUEST_BYTES": 1, "HEAR_REPLY_BYTES": 4,
    "ERROR_REPLY_BYTES": 1, "PROFILE_REQUEST_BYTES": 1, "STREAM_EVENT_BYTES": 18,
    "EXIT_REQUEST_BYTES": 1, "EXIT_REPLY_BYTES": 56, "LEARNING_REQUEST_BYTES": 2,
    "LEARNING_REPLY_BYTES": 30, "LEARN_REQUEST_BYTES": 2, "SOLVE_REPLY_BYTES": 12, "READ_LEARNT_REQUEST_BYTES": 6,
    "WRITE_LEARNT_REQUEST_BYTES": 4,
}  # fmt: skip
"""What boards in the field speak; a number that changes is another protocol version."""


def test_the_c_header_holds_the_numbers_that_boards_in_the_field_speak() -> None:
    header = protocol.c_header()
    lines = header.splitlines()
    assert lines[:3] == [
        "/* Written by multigraft from core/serial_protocol.py; do not edit. */",
        "#ifndef MG_PROTOCOL_H",
        "#define MG_PROTOCOL_H",
    ]
    assert lines[-1] == "#endif" and header.endswith("#endif\n")
    defines = dict(line.removeprefix("#define MG_").split(" ") for line in lines[3:-1])
    assert all(value.endswith("u") for value in defines.values())
    assert {name: int(value[:-1], 0) for name, value in defines.items()} == NUMBERS
    assert all(line.startswith("#define MG_") for line in lines[3:-1])
