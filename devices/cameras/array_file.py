"""Frames in a NumPy file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from multigraft.archive import Allowance
from multigraft.errors import InputError, UsageError
from multigraft.npz import member_headers, npy_header, open_npz, read_member
from multigraft.reading import UnreadableError, printable, regular_file
from multigraft.tensors.preprocessing import Frame

MOST_UNPACKED = 8 << 30
"""Bytes that compressed frames may have more than their file."""
_ZIP = b"PK\3\4"


class ArrayFile:
    """Camera adapter: frames of a ``.npy`` file (read as needed, not into memory at once) or of one in a ``.npz`` file.

    Args:
        path: Holds uint8, N x height x width, or N x height x width x 1 or 3.
        array: Which array of a .npz file; needed where it holds several of that form.

    Raises:
        InputError: The file is not there, is damaged, or holds no frames.
        UsageError: ``array`` names none, or has to be given.
    """

    def __init__(self, path: str | os.PathLike[str], array: str | None = None) -> None:
        self._path = Path(path)
        frames = self._read(array)
        if not _is_frames(frames.dtype, frames.shape):
            raise InputError(
                f"{path} holds {frames.dtype} of shape {frames.shape}",
                "store uint8 frames, N x height x width (grey) or N x height x width x 3 (RGB)",
            )
        if 0 in frames.shape:
            raise InputError(f"{path} holds no frames", "store at least one")
        self._frames = frames[..., 0] if frames.ndim == 4 and frames.shape[3] == 1 else frames

    def _read(self, array: str | None) -> npt.NDArray[Any]:
        try:
            with regular_file(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                if file.read(len(_ZIP)) != _ZIP:
                    file.seek(0)
                    return _mapped(file, size)
                with open_npz(file) as archive:
                    chosen = self._choose({n: _is_frames(*held) for n, held in member_headers(archive).items()}, array)
                    return read_member(archive, chosen, Allowance(size, size + MOST_UNPACKED))
        except (InputError, UsageError):
            raise
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._path} is not a readable NumPy file ({error})", "write it again with numpy.save or numpy.savez"
            ) from error

    def _choose(self, arrays: dict[str, bool], array: str | None) -> str:
        """``arrays`` is name to whether it may be frames."""
        if array is not None:
            if array not in arrays:
                raise UsageError(
                    f"{self._path} holds no array {array!r}",
                    f"choose from: {', '.join(map(printable, arrays)) or 'none'}",
                )
            return array
        fitting = [name for name, is_fitting in arrays.items() if is_fitting]
        if len(fitting) == 1:
            return str(fitting[0])
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return map(np.array, self._frames)


def _mapped(file: BinaryIO, size: int) -> npt.NDArray[Any]:
    """The array of an open .npy file, read as needed."""
    dtype, shape, is_fortran = npy_header(file)
    start = file.tell()
    if math.prod(shape) * dtype.itemsize > size - start:
        raise UnreadableError(f"{size - start} bytes are said to be {dtype} of shape {shape}")
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(file, dtype, "r", start, shape, "F" if is_fortran else "C")


def _is_frames(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))
