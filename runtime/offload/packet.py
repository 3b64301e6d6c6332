"""One representation on a wire: a versioned header, a checksum over everything, and the packed codes.

All numbers are little-endian:

| bytes | what |
|---|---|
| 4 | ``MGRP`` |
| 4 | CRC-32 (zlib's) of everything behind it |
| 1 | version, 1 |
| 1 | bits a code, 2 to 8 |
| 1 | how the codes are compressed: 0 not at all, 1 zlib |
| 1 | axes, 2 to 6 |
| 2 | bytes of the tensor's name, 1 to 512 |
| 4 | ranges: the channels, or 1 for all |
| 4 | bytes of the body |
| 4 an axis | the tensor's shape, channels last |
| | the name in UTF-8 |
| 8 a range | value of code 0 and step, float32 each: all of the first, then all of the second |
| | the body: codes, channels first, packed without gaps from the lowest bit on |

A checksum is no signature: whoever reads one assumes that its sender may be hostile.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import NoReturn, Self

import numpy as np

from multigraft.errors import InputError
from multigraft.runtime.offload.bit_packing import Codes, pack_bits, packed_bytes, unpack_bits
from multigraft.runtime.offload.quantiser import MOST_AXES, real_values
from multigraft.runtime.offload.ranges import FEWEST_BITS, MOST_BITS
from multigraft.tensors.arrays import Float32Array

MAGIC = b"MGRP"
VERSION = 1
MOST_VALUES = 1 << 26
"""Values of a tensor that are unpacked: what a packet of some bytes may make a reader allocate."""
_HEAD = struct.Struct("<BBBBHII")
_START = len(MAGIC) + 4
_AXES = (2, MOST_AXES)
_LONGEST_NAME = 512
_STORED, _ZLIB = 0, 1
_WINDOW_BITS = 15


@dataclass(frozen=True, eq=False)
class Packet:
    """One tensor's codes with all that is needed to read them.

    Attributes:
        tensor: Its name.
        shape: Channels last.
        bits: Of a code.
        low: Value of code 0, float32, (channels,) or (1,).
        step: Between neighbouring codes, likewise.
        packed: The codes, uint8, channels first, packed.
    """

    tensor: str
    shape: tuple[int, ...]
    bits: int
    low: Float32Array
    step: Float32Array
    packed: Codes

    @classmethod
    def of(
        cls, tensor: str, shape: tuple[int, ...], bits: int, low: Float32Array, step: Float32Array, codes: Codes
    ) -> Self:
        """A packet of codes that are not packed yet."""
        return cls(tensor, shape, bits, low, step, pack_bits(codes, bits))

    def values(self) -> Float32Array:
        """Real values, float32 of :attr:`shape`."""
        codes = unpack_bits(self.packed, self.bits, math.prod(self.shape))
        return real_values(codes, self.shape, self.low, self.step)

    def to_bytes(self) -> bytes:
        """What travels; the codes are compressed where that makes them smaller."""
        stored = self.packed.tobytes()
        body = deflated(stored)
        how = _ZLIB if len(body) < len(stored) else _STORED
        body = body if how == _ZLIB else stored
        name = self.tensor.encode()
        head = _HEAD.pack(VERSION, self.bits, how, len(self.shape), len(name), len(self.low), len(body))
        ranges = np.concatenate([self.low, self.step]).astype("<f4").tobytes()
        rest = b"".join((head, struct.pack(f"<{len(self.shape)}I", *self.shape), name, ranges, body))
        return MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest

    @classmethod
    def from_bytes(cls, raw: bytes, most_values: int = MOST_VALUES) -> Self:
        """Read one.

        Args:
            raw: All of it, and nothing else.
            most_values: Larger tensors are refused.

        Raises:
            InputError: It is damaged, of another version, or not what its own header says.
        """
        view = memoryview(raw)
        if bytes(view[: len(MAGIC)]) != MAGIC or len(view) < _START + _HEAD.size:
            _refuse("it does not begin as one")
        if zlib.crc32(view[_START:]) != int.from_bytes(view[len(MAGIC) : _START], "little"):
            _refuse("its checksum is wrong")
        version, bits, how, axes, name_bytes, ranges, body_bytes = _HEAD.unpack_from(view, _START)
        if version != VERSION:
            raise InputError(
                f"a packet has version {version} and this multigraft reads version {VERSION}",
                "use the same multigraft on both sides",
            )
        if not (FEWEST_BITS <= bits <= MOST_BITS and how in (_STORED, _ZLIB) and _AXES[0] <= axes <= _AXES[1]):
            _refuse("its header holds what no header does")
        place = _START + _HEAD.size
        if len(view) != place + 4 * axes + name_bytes + 8 * ranges + body_bytes:
            _refuse(f"it has {len(view)} bytes and its header tells of another number")
        shape = struct.unpack_from(f"<{axes}I", view, place)
        count = math.prod(shape)
        if shape[0] != 1 or not 0 < count <= most_values or ranges not in (1, shape[-1]):
            _refuse(f"its shape {list(shape)} with {ranges} ranges is none that is read")
        place += 4 * axes
        try:
            name = bytes(view[place : place + name_bytes]).decode()
        except UnicodeDecodeError:
            _refuse("its tensor has no name in UTF-8")
        if not name or name_bytes > _LONGEST_NAME or not name.isprintable():
            _refuse("its tensor has no name that can be printed")
        place += name_bytes
        low, step = np.frombuffer(view, "<f4", 2 * ranges, place).astype(np.float32).reshape(2, ranges)
        with np.errstate(all="ignore"):
            top = low + step * np.float32((1 << bits) - 1)
        if not (np.isfinite(low).all() and np.isfinite(step).all() and np.isfinite(top).all() and (step >= 0).all()):
            _refuse("its ranges are no ranges")
        expected = packed_bytes(count, bits)
        body = view[place + 8 * ranges :]
        stored = _inflated(body, expected) if how == _ZLIB else body
        if len(stored) != expected:
            _refuse(f"it has {len(stored)} bytes of codes in place of {expected}")
        return cls(name, shape, bits, low, step, np.frombuffer(stored, np.uint8))


def deflated(stored: bytes) -> bytes:
    """zlib's form of packed codes.

    Only runs are looked for: codes of neighbouring places repeat or do not, and longer matches, which a full search
    takes four times as long for, save some percent.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, 9, zlib.Z_RLE)
    return packer.compress(stored) + packer.flush()


def _inflated(body: memoryview, expected: int) -> bytes:
    unpacker = zlib.decompressobj(_WINDOW_BITS)
    try:
        # One byte more than there may be tells of a body that goes on.
        stored = unpacker.decompress(body, expected + 1)
    except zlib.error:
        _refuse("its body is not compressed by zlib")
    if not unpacker.eof or unpacker.unused_data:
        _refuse("its body does not end where its codes do")
    return stored


def _refuse(why: str) -> NoReturn:
    raise InputError(f"a packet of a representation cannot be read: {why}", "have it sent again")
