"""Frames in a NumPy file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.npz import NpzFile, npy_header
from multigraft.reading import UnreadableError, regular_file
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Frame

ZIP_BEGINS = (b"PK\3\4", b"PK\5\6")
"""The first bytes of a zip file; the second those of an empty one."""


class ArrayFile(SourceWithoutDevice):
    """Camera adapter: frames of a ``.npy`` file (read as needed, not into memory at once) or of one in a ``.npz`` file.

    Args:
        path: Holds uint8, N x height x width, or N x height x width x 1 or 3. One picture, height x width or height x
            width x 3, is one frame.
        array: Which array of a .npz file; needed where it holds several of that form.

    Raises:
        InputError: The file is not there, is damaged, or holds no frames.
        UsageError: ``array`` names none, or has to be given.
    """

    def __init__(self, path: str | os.PathLike[str], array: str | None = None) -> None:
        self._path = Path(path)
        frames = self._read(array)
        if frames.dtype == np.uint8 and (frames.ndim == 2 or _is_picture(frames.shape)):
            frames = frames[None]
        if not _is_frames(frames.dtype, frames.shape):
            raise InputError(
                f"{path} holds {frames.dtype} of shape {frames.shape}",
                "store uint8 frames, N x height x width (grey) or N x height x width x 3 (RGB)",
            )
        if 0 in frames.shape:
            raise InputError(f"{path} holds no frames", "store at least one")
        self._frames = frames[..., 0] if frames.ndim == 4 and frames.shape[3] == 1 else frames

    def _read(self, array: str | None) -> Array:
        try:
            with regular_file(self._path) as file:
                if file.read(4) not in ZIP_BEGINS:
                    return mapped(file)
            with NpzFile(self._path) as arrays:
                return arrays[self._choose(arrays, array)]
        except MultigraftError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._path} is not a readable NumPy file ({error})", "write it again with numpy.save or numpy.savez"
            ) from error

    def _choose(self, arrays: NpzFile, array: str | None) -> str:
        if array is not None:
            if array not in arrays:
                raise UsageError(
                    f"{self._path} holds no array {array!r}", f"choose from: {', '.join(arrays) or 'none'}"
                )
            return array
        fitting = [name for name in arrays if _is_frames(*arrays.header(name))]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise InputError(
                f"{self._path} holds no frames",
                "store uint8 frames, N x height x width (grey) or N x height x width x 3 (RGB)",
            )
        raise UsageError(
            f"{self._path} holds several arrays of frames ({', '.join(fitting)})",
            f"name one, as in {self._path}:{fitting[0]}",
        )

    @property
    def name(self) -> str:
        return f"frames in {self._path}"

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return map(np.array, self._frames)


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Whether it is height x width x 3 rather than many grey frames of 3 columns, which no camera takes."""
    return len(shape) == 3 and shape[2] == 3 and min(shape[:2]) > 3


def mapped(file: BinaryIO) -> Array:
    """The array of an open .npy file, read as needed."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    dtype, shape, is_fortran = npy_header(file)
    start = file.tell()
    if math.prod(shape) * dtype.itemsize > size - start:
        raise UnreadableError(f"{size - start} bytes are said to be {dtype} of shape {shape}")
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(file, dtype, "r", start, shape, "F" if is_fortran else "C")


def _is_frames(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))
