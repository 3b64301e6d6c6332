"""What lies in the flash of a board with two slots, as its boot loader and its updates write it."""

from __future__ import annotations

import struct
import zlib

from multigraft.errors import InputError
from multigraft.firmware_gen.boards.board import UpdateSlots

_HEADER = struct.Struct("<4I")
MAGIC = 0x746C7367


def slot_contents(slots: UpdateSlots, image: bytes, sequence: int = 1) -> bytes:
    """A slot with ``image`` in it: what a factory writes to the flash at the first of :attr:`UpdateSlots.starts`.

    Raises:
        InputError: The image is larger than a slot; the message has the number of bytes missing.
    """
    room = slots.size - slots.header
    if len(image) > room:
        raise InputError(f"the image is {len(image) - room} bytes larger than a slot", "choose a smaller network")
    header = _HEADER.pack(MAGIC, sequence, len(image), zlib.crc32(image))
    header += struct.pack("<I", zlib.crc32(header))
    return header.ljust(slots.header, b"\xff") + image


def factory_contents(slots: UpdateSlots, boot: bytes, image: bytes) -> bytes:
    """The flash from its first byte on, of a board whose images run in place: boot loader, and ``image`` in a slot.

    Raises:
        InputError: The image is larger than a slot.
    """
    start = slots.starts[0] - slots.boot[0].start
    return boot.ljust(start, b"\xff") + slot_contents(slots, image)
