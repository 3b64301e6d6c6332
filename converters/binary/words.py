"""Signs as bits: how filters and options of binary operators lie in the file (docs/binary.md)."""

from __future__ import annotations

import numpy as np

from multigraft.tensors.arrays import Array
from multigraft.tflite.checking.binary import words
from multigraft.tflite.graph import Op


def packed(values: Array) -> Array:
    """[..., C] to int32 [..., ceil(C / 32)]; a bit is 1 where the value is below zero."""
    channels = values.shape[-1]
    bits = np.zeros((*values.shape[:-1], words(channels) * 32), bool)
    bits[..., :channels] = values < 0
    result: Array = np.packbits(bits, -1, bitorder="little").view("<i4")
    return result


def unpacked(stored: Array, channels: int) -> Array:
    """int32 [..., words] to float32 -1 and 1 [..., C]."""
    bits = np.unpackbits(np.ascontiguousarray(stored).view(np.uint8), axis=-1, bitorder="little")
    result: Array = 1 - 2 * bits[..., :channels].astype(np.float32)
    return result


def binary_op(kind: str, inputs: tuple[str, ...], output: str, **options: int) -> Op:
    """A custom operator of Larq Compute Engine's set with its options as a FlexBuffers map."""
    from flatbuffers import flexbuffers

    content = b""
    if options:
        builder = flexbuffers.Builder()
        with builder.Map():
            for key, number in options.items():
                builder.Key(key)
                builder.Int(number)
        content = bytes(builder.Finish())
    return Op("CUSTOM", inputs, (output,), custom_code=kind, custom_options=content)
