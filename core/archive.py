"""Reads zip archives of unknown senders: names are looked up, never followed, and nothing is unpacked unasked.

An archive is refused where two members share a name or bytes, a member is no regular file, is compressed by a method
that is not expected, or says a size beyond what is allowed, before any of it is unpacked.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection
from typing import BinaryIO

from multigraft.reading import UnreadableError, printable

_END = 22
"""Bytes of the record that ends an archive without a comment."""
_LOCATOR = b"PK\x06\x07"
_LOCAL = 30
MOST_EXPANSION = 100
FREE_EXPANSION = 64 << 20
"""Compressed content may unpack to this many bytes, and beyond them to so many times its size."""


class Allowance:
    """Bytes that may still be unpacked, over all archives that are nested in each other.

    Args:
        packed: Size of the outermost archive.
        most: Never more than this.
    """

    def __init__(self, packed: int, most: int) -> None:
        self.most = min(most, FREE_EXPANSION + MOST_EXPANSION * packed)
        self._left = self.most

    def take(self, size: int) -> None:
        """Count ``size`` bytes.

        Raises:
            UnreadableError: They are too many.
        """
        self._left -= size
        if size < 0 or self._left < 0:
            raise UnreadableError(f"it unpacks to more than {self.most >> 20} MiB")


class Archive:
    """An archive whose members can be read one by one; use it with ``with``.

    Args:
        source: The archive.
        allows: Whether a member of that name may be there.
        most_members: How many there may be.
        methods: Allowed compressions, as ``zipfile`` numbers them.

    Attributes:
        sizes: Name to the size that the archive says, in the archive's order.

    Raises:
        UnreadableError: It is no archive of this kind.
    """

    def __init__(
        self,
        source: BinaryIO | bytes,
        allows: Callable[[str], bool],
        most_members: int,
        methods: Collection[int] = (zipfile.ZIP_STORED,),
    ) -> None:
        self._file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
        directory = self._check_end(most_members)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            raise UnreadableError(f"it is not a whole zip archive: {error}") from error
        infos = self._zip.infolist()
        if len(infos) > most_members:
            raise UnreadableError(f"it holds {len(infos)} members")
        for info in infos:
            self._check(info, allows, methods)
        self._members = {info.filename: info for info in infos}
        if len(self._members) != len(infos):
            raise UnreadableError("it holds two members of one name")
        self._check_places(infos, directory)
        self.sizes = {info.filename: info.file_size for info in infos}

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *reason: object) -> None:
        self._zip.close()

    def read(self, name: str, allowance: Allowance | None = None, most: int | None = None) -> bytes:
        """The content of a member, as long as the archive says.

        Args:
            name: Of the member.
            allowance: Counts what is unpacked.
            most: Read no more than so many bytes from its beginning.

        Raises:
            UnreadableError: It is not there, damaged, or more than ``allowance`` leaves.
        """
        if name not in self._members:
            raise UnreadableError(f"it lacks {printable(name)}")
        info = self._members[name]
        size = info.file_size if most is None else min(most, info.file_size)
        if allowance is not None:
            allowance.take(size)
        try:
            # Without a number it would unpack whatever is there before it looks at the size.
            with self._zip.open(info) as member:
                data = member.read(size)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            raise UnreadableError(f"{printable(name)} cannot be unpacked: {error}") from error
        except zlib.error:
            raise UnreadableError(f"{printable(name)} cannot be unpacked") from None
        if len(data) != size:
            raise UnreadableError(f"{printable(name)} is not as long as the archive says")
        return data

    def _check_end(self, most_members: int) -> int:
        """Where the directory begins; ``zipfile`` reads all of it at once, so its size is looked at before."""
        size = self._file.seek(0, io.SEEK_END)
        if size < _END:
            raise UnreadableError("File is not a zip file")
        self._file.seek(max(size - _END - 20, 0))
        tail = self._file.read()
        end = tail[-_END:]
        if end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
            raise UnreadableError("File is not a zip file")
        if tail[:-_END][:4] == _LOCATOR:
            raise UnreadableError("it is of the 64-bit kind")
        members = int.from_bytes(end[10:12], "little")
        length, start = int.from_bytes(end[12:16], "little"), int.from_bytes(end[16:20], "little")
        if members > most_members:
            raise UnreadableError(f"it holds {members} members")
        if length > most_members * 512 or start + length + _END != size:
            # A cut file can end in an archive of its own, which zipfile would open in place of the whole.
            raise UnreadableError("its end is missing")
        return start

    def _check(self, info: zipfile.ZipInfo, allows: Callable[[str], bool], methods: Collection[int]) -> None:
        shown = printable(info.filename)
        if not allows(info.filename) or info.orig_filename != info.filename:
            raise UnreadableError(f"it holds {shown}, which does not belong there")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.is_dir():
            raise UnreadableError(f"{shown} is no regular file")
        if info.flag_bits & 1:
            raise UnreadableError(f"{shown} is encrypted")
        if info.compress_type not in methods:
            raise UnreadableError(f"{shown} is compressed in a way that is not expected")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise UnreadableError(f"{shown} has two sizes")

    def _check_places(self, infos: list[zipfile.ZipInfo], directory: int) -> None:
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end or (end == 0 and info.header_offset):
                raise UnreadableError("its members lie over each other, or its beginning is missing")
            end = info.header_offset + _LOCAL + len(info.filename.encode()) + info.compress_size
        if end > directory:
            raise UnreadableError("its members lie over each other")
