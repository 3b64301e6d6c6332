"""Reads a flatbuffer that may lie: nothing is taken from outside the file, and the work is linear in its size."""

from __future__ import annotations

import mmap
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Any

_SIZES = {"?": 1, "b": 1, "B": 1, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}
_OFFSET = 4
_BUDGET_PER_BYTE = 4
"""An honest file refers to a byte of a table once, and to one of a table's layout (vtable) from several tables."""
_BUDGET_LEAST = 1 << 16
MOST_TABLES = 1 << 17
MOST_NUMBERS = 1 << 21
"""Of a file: many times what models for small devices have, and little enough to hold in memory."""


class DamagedError(Exception):
    """What the file says cannot be; the text completes "FILE is damaged: "."""


class Table:
    """A table within the file.

    Args:
        source: Where it lies.
        position: Of its beginning.
        fields: How many of its fields are known here; further ones are ignored.
    """

    __slots__ = ("_fields", "_source", "_stop", "position")

    def __init__(self, source: Flatbuffer, position: int, fields: int) -> None:
        data = source.data
        source.within(position, 4, 4)
        layout = position - int(struct.unpack_from("<i", data, position)[0])
        source.within(layout, 4, 2)
        layout_size, size = struct.unpack_from("<HH", data, layout)
        if layout_size < 4 or layout_size % 2 or size < 4:
            raise DamagedError("a table has no layout")
        source.within(layout, layout_size)
        source.within(position, size)
        known = min(fields, layout_size // 2 - 2)
        source.spend(size + 4 + 2 * known, tables=1)
        offsets = struct.unpack_from(f"<{known}H", data, layout + 4)
        if offsets and max(offsets) >= size:
            raise DamagedError("a field lies outside its table")
        self.position = position
        self._source = source
        self._fields = offsets
        self._stop = position + size

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return field < len(self._fields) and self._fields[field] != 0

    def _place(self, field: int, size: int) -> int:
        place: int = self.position + self._fields[field]
        if place % size or place + size > self._stop:
            raise DamagedError("a field lies outside its table")
        return place

    def number(self, field: int, kind: str, default: Any = 0) -> Any:
        """A scalar of the ``struct`` format ``kind``."""
        if not self.has(field):
            return default
        return struct.unpack_from(f"<{kind}", self._source.data, self._place(field, _SIZES[kind]))[0]

    def _target(self, field: int) -> int:
        place = self._place(field, _OFFSET)
        return place + int(struct.unpack_from("<I", self._source.data, place)[0])

    def vector(self, field: int, kind: str) -> tuple[int, int]:
        """Position and length of a vector of scalars; (0, 0) if it is not there."""
        if not self.has(field):
            return 0, 0
        target, size = self._target(field), _SIZES[kind]
        self._source.within(target, 4, 4)
        count = int(struct.unpack_from("<I", self._source.data, target)[0])
        self._source.within(target + 4, count * size, min(size, 4))
        return target + 4, count

    def numbers(self, field: int, kind: str) -> tuple[Any, ...]:
        """The elements of a vector of scalars."""
        place, count = self.vector(field, kind)
        self._source.spend(4 + count * _SIZES[kind], numbers=count)
        return struct.unpack_from(f"<{count}{kind}", self._source.data, place)

    def floats(self, field: int) -> Sequence[float]:
        """A vector of float32, which takes 4 bytes for each: Python's numbers take 32, and what they took is kept."""
        place, count = self.vector(field, "f")
        self._source.spend(4 + count * 4, numbers=count)
        numbers = array("f", self._source.data[place : place + 4 * count])
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers

    def text(self, field: int) -> str | None:
        """A string; None if it is not there."""
        if not self.has(field):
            return None
        place, count = self.vector(field, "B")
        self._source.within(place, count + 1)
        self._source.spend(4 + count)
        raw = self._source.data[place : place + count + 1]
        # The interpreter reads names up to the first zero byte.
        if raw.find(b"\0") != count:
            raise DamagedError("a name does not end")
        try:
            return raw[:-1].decode()
        except UnicodeDecodeError:
            raise DamagedError("a name is not UTF-8 text") from None

    def table(self, field: int, fields: int) -> Table | None:
        """A table that the field refers to; None if it is not there."""
        return Table(self._source, self._target(field), fields) if self.has(field) else None

    def tables(self, field: int, fields: int) -> Sequence[Table]:
        """A vector of tables."""
        place, count = self.vector(field, "I")
        self._source.spend(4 + 4 * count, numbers=count)
        steps = struct.unpack_from(f"<{count}I", self._source.data, place)
        return [Table(self._source, place + 4 * i + step, fields) for i, step in enumerate(steps)]


class Flatbuffer:
    """The whole file.

    Args:
        data: Its content.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self._left = _BUDGET_LEAST + _BUDGET_PER_BYTE * self.size
        self._tables_left = MOST_TABLES
        self._numbers_left = MOST_NUMBERS

    def within(self, position: int, size: int, alignment: int = 1) -> None:
        """Raises:
        DamagedError: These bytes are not all in the file, or begin at an odd place.
        """
        if position < 0 or position + size > self.size:
            raise DamagedError("it is cut off, or a part lies outside of it")
        if position % alignment:
            raise DamagedError("a part begins at an odd place")

    def spend(self, size: int, tables: int = 0, numbers: int = 0) -> None:
        """Count bytes that were read, so that parts that many others share cannot be read without end.

        Args:
            size: Bytes.
            tables: Tables among them.
            numbers: Elements of vectors among them.

        Raises:
            DamagedError: More was read than an honest file needs.
        """
        self._left -= size
        if self._left < 0:
            raise DamagedError("its parts lie over each other")
        self._tables_left -= tables
        self._numbers_left -= numbers
        if self._tables_left < 0 or self._numbers_left < 0:
            raise DamagedError("it holds more parts than a model for small devices has")

    def root(self, fields: int) -> Table:
        """The outermost table."""
        self.within(0, 8)
        return Table(self, int(struct.unpack_from("<I", self.data, 0)[0]), fields)
