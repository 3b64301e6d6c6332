"""Words of 32 signs, as binary operators hold them (docs/binary.md): the first channel lies in the lowest bit."""

from __future__ import annotations

import numpy as np

from multigraft.tensors.arrays import Array


def words_of(channels: int) -> int:
    """How many words hold so many channels."""
    return -(-channels // 32)


def packed(values: Array, zero_point: int = 0) -> Array:
    """[..., C] to int32 [..., words]: a bit is 1 where the value is below the zero point, 0 beyond the last channel."""
    channels = values.shape[-1]
    bits = np.zeros((*values.shape[:-1], words_of(channels) * 32), bool)
    bits[..., :channels] = values < zero_point
    return np.packbits(bits, -1, bitorder="little").view("<i4").astype(np.int32)


def bits_of(words: Array, channels: int) -> Array:
    """int32 [..., words] to 0 and 1 in int64 [..., channels]."""
    flat = np.ascontiguousarray(words.astype("<i4")).view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")[..., :channels].astype(np.int64)
