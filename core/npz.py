"""NumPy's .npz without a clock in it: equal arrays give equal bytes; and read from files that nobody vouches for."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from tokenize import TokenError
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from multigraft.archive import Allowance, Archive
from multigraft.reading import UnreadableError, printable, regular_file
from multigraft.tensors.arrays import Array, Arrays

FIXED_TIME = (2020, 1, 1, 0, 0, 0)
"""The time that every member carries."""

LARGEST = 1 << 30
"""Bytes that :func:`read_npz` unpacks at most."""
LARGEST_ARRAY = 8 << 30
"""Bytes of one array of a file that is read array by array."""
MOST_ARRAYS = 1 << 16
_SUFFIX = ".npy"
_LONGEST_HEADER = 16 << 10
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_KINDS = "biufcU"
"""Kinds of elements that are numbers or text; everything else may be objects, which are code."""
_format: Any = np.lib.format


def npz_bytes(arrays: Arrays, level: int = 6) -> bytes:
    """The arrays by name, compressed at zlib's ``level``."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.save(member, np.asarray(array, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", FIXED_TIME)
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, level)
    return target.getvalue()


def stored_npz_bytes(arrays: Arrays) -> bytes:
    """The arrays by name, in their order and uncompressed, as bundles store their golden inputs and outputs."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return target.getvalue()


class NpzFile(Mapping[str, Array]):
    """Arrays by name, each unpacked when it is asked for and not kept; open until its ``with`` block is left.

    What ``file[name]`` gives cannot be written to.

    Args:
        source: The file's content, or its path.

    Raises:
        InputError: There is no such file, or it is no regular file.
        ValueError: It is damaged or something else; also when a damaged array, or one of objects, is asked for.
    """

    def __init__(self, source: bytes | str | os.PathLike[str]) -> None:
        with contextlib.ExitStack() as stack:
            file: BinaryIO = (
                io.BytesIO(source) if isinstance(source, bytes) else stack.enter_context(regular_file(source))
            )
            self._size = file.seek(0, os.SEEK_END)
            self._archive = stack.enter_context(
                Archive(file, lambda name: name.endswith(_SUFFIX), MOST_ARRAYS, _METHODS)
            )
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(self._archive.sizes.values())

    def __getitem__(self, name: str) -> Array:
        return self.read(name, Allowance(self._size, self._size + LARGEST_ARRAY), is_writable=False)

    def read(self, name: str, allowance: Allowance, is_writable: bool = True) -> Array:
        """One array, counted by ``allowance``.

        Raises:
            KeyError: There is none of that name.
            UnreadableError: It is damaged, holds objects, or is larger than ``allowance`` leaves.
        """
        if name not in self:
            raise KeyError(name)
        return read_npy(self._archive.read(name + _SUFFIX, allowance), is_writable)

    def header(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Type and shape of one array, which is not unpacked.

        Raises:
            UnreadableError: It is damaged, or holds objects.
        """
        return npy_header(io.BytesIO(self._archive.read(name + _SUFFIX, most=_LONGEST_HEADER)))[:2]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name + _SUFFIX in self._archive.sizes

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(_SUFFIX) for name in self._archive.sizes)

    def __len__(self) -> int:
        return len(self._archive.sizes)


def read_npz(data: bytes, allowance: Allowance | None = None) -> dict[str, Array]:
    """All arrays of an .npz file by name.

    Args:
        data: The file's content.
        allowance: Bytes that may be unpacked, where this file lies in another.

    Raises:
        ValueError: It is damaged or something else, holds objects, or unpacks to more than :data:`LARGEST` bytes.
    """
    allowance = allowance or Allowance(len(data), LARGEST)
    with NpzFile(data) as arrays:
        return {name: arrays.read(name, allowance) for name in arrays}


def read_npy(data: bytes, is_writable: bool = True) -> Array:
    """The array of a .npy file's content.

    Args:
        data: The content.
        is_writable: False gives an array over ``data`` itself.

    Raises:
        UnreadableError: It is damaged, or its header promises other than its length, or objects.
    """
    source = io.BytesIO(data)
    dtype, shape, is_fortran = npy_header(source)
    held = memoryview(data)[source.tell() :]
    if math.prod(shape) * dtype.itemsize != len(held):
        raise UnreadableError(f"an array of {len(held)} bytes is said to be {dtype} of shape {shape}")
    array: Array = np.frombuffer(held, dtype)
    array = array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)
    return array.copy() if is_writable else array


def npy_header(source: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape and Fortran order that a .npy file promises; ``source`` is then at the first element.

    Raises:
        UnreadableError: It is no such header, or promises objects.
    """
    try:
        version = _format.read_magic(source)
        length = source.read(2 if version == (1, 0) else 4)
        shape, is_fortran, dtype = _parsed_header(version, length + source.read(int.from_bytes(length, "little")))
    # The header is a Python literal: its parser gives up in many ways.
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError, TokenError) as error:
        why = printable(str(error).partition("\n")[0])
        raise UnreadableError(f"an array's header is damaged ({why})") from error
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise UnreadableError("an array holds something else than numbers")
    if not all(isinstance(size, int) and size >= 0 for size in shape) or len(shape) > 32:
        raise UnreadableError(f"an array has shape {shape}")
    return dtype, shape, is_fortran


@functools.lru_cache(maxsize=1024)
def _parsed_header(version: tuple[int, int], header: bytes) -> tuple[Any, Any, Any]:
    """Shape, order and type: parsing a literal takes longer than all else of a small array, and few differ."""
    read = _format.read_array_header_1_0 if version == (1, 0) else _format.read_array_header_2_0
    parsed: tuple[Any, Any, Any] = read(io.BytesIO(header))
    return parsed
