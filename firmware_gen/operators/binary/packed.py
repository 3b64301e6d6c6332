"""What the binary operators have in common: their options, their words, and the demands of all."""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array
from multigraft.tflite.checking.flexbuffer import whole_numbers
from multigraft.tflite.graph import Tensor

HEADERS = ("real.h", "binary.h")


def options_of(node: Node) -> dict[str, int]:
    """The operator's options; the file's check has made sure of them."""
    return whole_numbers(node.op.custom_options)


def words_of(channels: int) -> int:
    """How many words hold so many channels."""
    return -(-channels // 32)


def is_value(tensor: Tensor) -> bool:
    """int8 with one scale, or float32."""
    return is_int8(tensor) or (tensor.dtype == "float32" and len(tensor.shape) > 0)


def packed(values: Array, zero_point: int) -> Array:
    """[..., C] to int32 [..., words]."""
    channels = values.shape[-1]
    bits = np.zeros((*values.shape[:-1], words_of(channels) * 32), bool)
    bits[..., :channels] = values < zero_point
    return np.packbits(bits, -1, bitorder="little").view("<i4").astype(np.int32)


def bits_of(words: Array, channels: int) -> Array:
    """int32 [..., words] to 0 and 1 in int64 [..., C]."""
    flat = np.ascontiguousarray(words.astype("<i4")).view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")[..., :channels].astype(np.int64)
