"""Damaged packets are refused in one sentence, whatever the damage, and cost no memory.

``MULTIGRAFT_PACKETS=100000`` asks for that many.
"""

from __future__ import annotations

import os
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from multigraft.errors import InputError
from multigraft.runtime.offload.codec import BITS, Codec
from multigraft.runtime.offload.packet import Packet
from multigraft.tensors.specs import TensorSpec

PACKETS = int(os.environ.get("MULTIGRAFT_PACKETS", "4000"))
SPEC = TensorSpec("trunk/relu", (1, 12, 12, 8), "int8", 0.05, -128)


def packets() -> list[bytes]:
    """One per number of bits, compressed and not."""
    random = np.random.default_rng(0)
    found = []
    for bits in BITS:
        for values in (
            random.integers(-128, 128, SPEC.shape),
            np.maximum(random.normal(0, 40, SPEC.shape) - 128, -128),
        ):
            kept = values.clip(-128, 127).astype(np.int8)
            found.append(Codec.from_samples(SPEC, kept).encode(kept, bits))
    return found


def damaged(raw: bytes, random: np.random.Generator, others: list[bytes]) -> bytes:
    """Bits turned, bytes overwritten, cut, doubled, shortened at the front, spliced with another packet."""
    data = bytearray(raw)
    match int(random.integers(6)):
        case 0:
            for place in random.integers(0, 8 * len(data), random.integers(1, 9)):
                data[place // 8] ^= 1 << (place % 8)
        case 1:
            start = int(random.integers(len(data)))
            data[start : start + 8] = random.bytes(len(data[start : start + 8]))
        case 2:
            del data[int(random.integers(len(data))) :]
        case 3:
            data += data[: int(random.integers(1, len(data)))]
        case 4:
            del data[: int(random.integers(1, len(data)))]
        case _:
            place = int(random.integers(1, len(data)))
            data[place:] = others[int(random.integers(len(others)))][place:]
    return bytes(data)


def sealed(rest: bytes) -> bytes:
    """A checksum that fits, as an attacker makes it."""
    return b"MGRP" + zlib.crc32(rest).to_bytes(4, "little") + rest


def test_damaged_packets_are_refused() -> None:
    random, whole = np.random.default_rng(1), packets()
    known, tried = set(whole), 0
    while tried < PACKETS:
        raw = damaged(whole[tried % len(whole)], random, whole)
        if raw in known:
            continue
        tried += 1
        with pytest.raises(InputError, match="packet"):
            Packet.from_bytes(raw)


def test_packets_with_a_right_checksum_are_read_as_they_say_or_refused() -> None:
    random, whole = np.random.default_rng(2), packets()
    for number in range(PACKETS):
        raw = sealed(damaged(whole[number % len(whole)], random, whole)[8:])
        try:
            values = Packet.from_bytes(raw, 1 << 14).values()
        except InputError:
            continue
        assert values.size <= 1 << 14
        assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b"\x02" + b[1:], "version 2"),
        (lambda b: b[:1] + b"\x09" + b[2:], "header"),
        (lambda b: b[:1] + b"\x01" + b[2:], "header"),
        (lambda b: b[:2] + b"\x07" + b[3:], "header"),
        (lambda b: b[:14] + b"\x02\x00\x00\x00" + b[18:], "shape"),
        (lambda b: b[:18] + b"\xff\xff\xff\xff" + b[22:], "shape"),
        (lambda b: b[:30] + b"\xff" + b[31:], "UTF-8"),
        (lambda b: b[:30] + b"\x1b" + b[31:], "printed"),
        (lambda b: b[:40] + np.float32(np.nan).tobytes() + b[44:], "ranges"),
        (lambda b: b[:40] + np.float32(3e38).tobytes() * 2 + b[48:], "ranges"),
        (lambda b: b + b"\x00", "bytes"),
    ],
)
def test_each_lie_of_a_header_has_its_sentence(change: Callable[[bytes], bytes], said: str) -> None:
    spec = TensorSpec("trunk/relu", (1, 3, 4, 2), "uint8", 0.5)
    values = np.arange(24, dtype=np.uint8).reshape(spec.shape)
    rest = Codec.from_samples(spec, values).encode(values, 8)[8:]
    with pytest.raises(InputError, match=said):
        Packet.from_bytes(sealed(change(rest)))


def test_a_bomb_costs_no_memory() -> None:
    shape = (1, 3, 4, 2)
    packet = Packet.of("t", shape, 8, np.zeros(1, np.float32), np.ones(1, np.float32), np.zeros(24, np.uint8))
    rest = bytearray(packet.to_bytes()[8:])
    bomb = zlib.compress(bytes(64 << 20), 9)
    body = len(rest) - int.from_bytes(rest[10:14], "little")
    rest[2] = 1
    rest[10:14] = len(bomb).to_bytes(4, "little")
    rest[body:] = bomb
    tracemalloc.start()
    with pytest.raises(InputError, match="body"):
        Packet.from_bytes(sealed(bytes(rest)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_a_tensor_larger_than_the_reader_takes_is_refused() -> None:
    values = np.zeros(SPEC.shape, np.int8)
    raw = Codec.from_samples(SPEC, values).encode(values, 2)
    with pytest.raises(InputError, match="shape"):
        Packet.from_bytes(raw, 100)


def test_a_packet_of_another_tensor_is_refused() -> None:
    other = TensorSpec("other", (1, 4), "int8", 0.1)
    values = np.zeros(other.shape, np.int8)
    zeros = np.zeros(SPEC.shape, np.int8)
    with pytest.raises(InputError, match="holds tensor other"):
        Codec.from_samples(SPEC, zeros).decode(Codec.from_samples(other, values).encode(values, 4))
