"""The frame format, as properties over arbitrary bytes."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft import serial_protocol as protocol
from multigraft.serial_protocol import Decoder, Message

frames = st.builds(
    Message, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=protocol.MAX_PAYLOAD), st.integers(0, 255)
)


@given(st.binary(max_size=1100))
def test_cobs_holds_no_zero_and_comes_back(data):
    encoded = protocol.cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert protocol.cobs_decode(encoded) == data


def test_cobs_is_that_of_the_paper():
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


@given(st.lists(frames, max_size=4), st.binary(max_size=300))
def test_frames_arrive_behind_any_garbage(sent, garbage):
    decoder = Decoder()
    decoder.feed(garbage + protocol.DELIMITER)
    assert decoder.feed(b"".join(protocol.encode(frame) for frame in sent)) == sent


@settings(max_examples=50)
@given(frames, st.data())
def test_a_damaged_frame_is_dropped(frame, data):
    encoded = bytearray(protocol.encode(frame))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    assert frame not in Decoder().feed(bytes(encoded) + b"\0")


def test_a_piece_without_end_takes_no_memory():
    decoder = Decoder()
    chance = random.Random(0)
    for _ in range(100):
        assert decoder.feed(bytes(chance.randrange(1, 256) for _ in range(500))) == []
    assert len(decoder._piece) <= protocol.MAX_ENCODED + 1
    assert decoder.feed(b"\0") == []
    assert decoder.dropped == 1
