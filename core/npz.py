"""NumPy's .npz without a clock in it: equal arrays give equal bytes; and read from bytes that nobody vouches for."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from multigraft.archive import Allowance, Archive
from multigraft.reading import UnreadableError, printable

Arrays = Mapping[str, npt.NDArray[Any]]

FIXED_TIME = (2020, 1, 1, 0, 0, 0)
"""Of every member."""

LARGEST = 1 << 30
"""Bytes that are unpacked at most."""
MOST_ARRAYS = 1 << 16
_SUFFIX = ".npy"
_LONGEST_HEADER = 16 << 10
_format: Any = np.lib.format
_KINDS = "biufcU"
"""Kinds of elements that are numbers or text; everything else may be objects, which are code."""


def npz_bytes(arrays: Arrays, level: int = 6) -> bytes:
    """The arrays by name, compressed at zlib's ``level``."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in sorted(arrays.items()):
            held = io.BytesIO()
            np.save(held, np.asarray(array, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", FIXED_TIME)
            archive.writestr(info, held.getvalue(), zipfile.ZIP_DEFLATED, level)
    return target.getvalue()


def read_npz(data: bytes, allowance: Allowance | None = None) -> dict[str, npt.NDArray[Any]]:
    """What :func:`npz_bytes` or ``numpy.savez`` gave.

    Args:
        data: The file's content.
        allowance: Bytes that may be unpacked, where this archive lies in another.

    Raises:
        ValueError: It is damaged, or holds more than :data:`LARGEST` bytes, or objects.
    """
    allowance = allowance or Allowance(len(data), LARGEST)
    with open_npz(data) as archive:
        return {name.removesuffix(_SUFFIX): read_npy(archive.read(name, allowance)) for name in archive.sizes}


def open_npz(source: BinaryIO | bytes) -> Archive:
    """The archive of a .npz file; its members end in ``.npy``.

    Raises:
        UnreadableError: It is none.
    """
    return Archive(source, lambda name: name.endswith(_SUFFIX), MOST_ARRAYS, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))


def read_member(archive: Archive, name: str, allowance: Allowance) -> npt.NDArray[Any]:
    """One array of an archive by :func:`open_npz`, not writable.

    Raises:
        UnreadableError: It is not there or damaged, or more than ``allowance`` leaves.
    """
    return read_npy(archive.read(name + _SUFFIX, allowance), is_writable=False)


def member_headers(archive: Archive) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Name to type and shape of every array of an archive by :func:`open_npz`.

    Raises:
        UnreadableError: One is damaged.
    """
    headers = {name: npy_header(io.BytesIO(archive.read(name, most=_LONGEST_HEADER))) for name in archive.sizes}
    return {name.removesuffix(_SUFFIX): (dtype, shape) for name, (dtype, shape, _) in headers.items()}


def read_npy(data: bytes, is_writable: bool = True) -> npt.NDArray[Any]:
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
    array: npt.NDArray[Any] = np.frombuffer(held, dtype)
    array = array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)
    return array.copy() if is_writable else array


def npy_header(source: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape and Fortran order that a .npy file promises; ``source`` is then at the first element.

    Raises:
        UnreadableError: It is no such header, or promises objects.
    """
    try:
        version = _format.read_magic(source)
        read = _format.read_array_header_1_0 if version == (1, 0) else _format.read_array_header_2_0
        shape, is_fortran, dtype = read(source)
    # The header is a Python literal: its parser gives up in many ways.
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        why = printable(str(error).partition("\n")[0])
        raise UnreadableError(f"an array's header is damaged ({why})") from error
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise UnreadableError("an array holds something else than numbers")
    if not all(isinstance(size, int) and size >= 0 for size in shape) or len(shape) > 32:
        raise UnreadableError(f"an array has shape {shape}")
    return dtype, shape, is_fortran
