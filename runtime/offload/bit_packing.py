"""Small whole numbers side by side without gaps: 8 codes of B bits in B bytes.

Code *k* lies in bits *kB* to *kB + B - 1* of the stream, where bit 0 is the lowest bit of the first byte. All is done
on 64-bit words that hold 8 codes each: three shifts close the gaps between all of them at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]

_WORD = np.dtype("<u8")
_PAIRS, _FOURS, _EIGHTS = (np.uint64(mask) for mask in (0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF))


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take."""
    return -(-count * bits // 8)


def pack_bits(codes: Codes, bits: int) -> Codes:
    """Pack codes.

    Args:
        codes: uint8, one axis, each below ``2 ** bits``.
        bits: 1 to 8.

    Returns:
        uint8, :func:`packed_bytes` of them; bits after the last code are 0.
    """
    if bits == 8:
        return codes
    words = np.zeros(-(-len(codes) // 8) * 8, np.uint8)
    words[: len(codes)] = codes
    lanes = words.view(_WORD)
    for width, mask in ((8, _PAIRS), (16, _FOURS), (32, _EIGHTS)):
        gap = np.uint64(width - bits * width // 8)
        high = lanes & ~mask
        high >>= gap
        lanes &= mask
        lanes |= high
    return np.ascontiguousarray(words.reshape(-1, 8)[:, :bits]).reshape(-1)[: packed_bytes(len(codes), bits)]


def unpack_bits(packed: Codes, bits: int, count: int) -> Codes:
    """The codes that :func:`pack_bits` packed.

    Args:
        packed: uint8, one axis, :func:`packed_bytes` of them.
        bits: 1 to 8.
        count: How many codes there are.

    Returns:
        uint8, ``count`` of them.
    """
    if bits == 8:
        return packed[:count]
    groups = -(-count // 8)
    whole = np.zeros(groups * bits, np.uint8)
    whole[: len(packed)] = packed
    words = np.zeros((groups, 8), np.uint8)
    words[:, :bits] = whole.reshape(groups, bits)
    lanes = words.reshape(-1).view(_WORD)
    for width, mask in ((32, _EIGHTS), (16, _FOURS), (8, _PAIRS)):
        taken = bits * width // 8
        low = np.uint64((1 << taken) - 1) * np.uint64(int(mask) // ((1 << width) - 1))
        high = lanes & ~low
        # Whatever lies above the codes of these lanes belongs to the upper neighbour.
        high <<= np.uint64(width - taken)
        lanes &= low
        lanes |= high & ~mask
    return words.reshape(-1)[:count]
