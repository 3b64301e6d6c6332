"""Mutants of pictures, arrays and sounds: numbers of their headers, lengths, cuts; a PNG's checksums fit again."""

from __future__ import annotations

import struct
import zlib

from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import packed, scrambled, unpacked

INTEGERS = (0, 1, 2, 3, 7, 8, 16, 255, 256, 8191, 32767, 65535, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = 160
"""Bytes at the beginning, where most formats say what follows."""


class FrameMutator(Mutator):
    """Makes mutants of one input of the frame decoder.

    Args:
        data: A byte that says the form, and the file.
        seed: For the choice of all mutants.
    """

    def __init__(self, data: bytes, seed: int = 0) -> None:
        super().__init__(data[1:], seed)
        self._form = data[:1]

    def mutant(self) -> bytes:
        """The next one."""
        draw = self._random
        if self._data.startswith(b"PK") and draw.random() < 0.6:
            return self._form + self._in_archive()
        made = self._changed(self._data)
        if made.startswith(_PNG) and draw.random() < 0.8:
            made = _with_checksums(made)
        return self._form + made

    def _changed(self, data: bytes) -> bytes:
        draw = self._random
        if draw.random() < 0.3:
            return scrambled(data, draw)
        changed = bytearray(data)
        for _ in range(draw.choice((1, 1, 2))):
            size = draw.choice((1, 2, 4))
            place = draw.randrange(max(1, min(len(changed), draw.choice((_HEAD, 1 << 30))) - size))
            value = draw.choice(INTEGERS) % (1 << 8 * size)
            changed[place : place + size] = value.to_bytes(size, draw.choice(("little", "big")))
        return bytes(changed)

    def _in_archive(self) -> bytes:
        """The array of an .npz file, changed before it is packed."""
        members = unpacked(self._data)
        name = self._random.choice(list(members))
        members[self._random.choice((name, name, "y.npy", "x"))] = self._changed(members[name])
        return packed(members)


def _with_checksums(data: bytes) -> bytes:
    made, place = bytearray(_PNG), len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        content = data[place + 8 : place + 8 + length]
        made += data[place : place + 8] + content + struct.pack(">I", zlib.crc32(data[place + 4 : place + 8] + content))
        place += 12 + len(content)
    return bytes(made) + data[place:]
