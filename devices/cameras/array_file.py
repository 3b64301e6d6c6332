"""Frames in a NumPy file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from multigraft.devices.cameras.camera import SourceWithoutDevice
from multigraft.devices.cameras.permission import unreadable
from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.npz import NpzFile
from multigraft.tensors.arrays import Array, Arrays
from multigraft.tensors.preprocessing import Frame

_ZIP_BEGINS = (b"PK\3\4", b"PK\5\6")
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
        if frames.dtype == np.uint8 and (frames.ndim == 2 or _is_picture(frames)):
            frames = frames[None]
        if not _is_frames(frames):
            raise InputError(
                f"{path} holds {frames.dtype} of shape {frames.shape}",
                "store uint8 frames, N x height x width (grey) or N x height x width x 3 (RGB)",
            )
        if 0 in frames.shape:
            raise InputError(f"{path} holds no frames", "store at least one")
        self._frames = frames[..., 0] if frames.ndim == 4 and frames.shape[3] == 1 else frames

    def _read(self, array: str | None) -> Array:
        try:
            with self._path.open("rb") as file:
                is_npz = file.read(4) in _ZIP_BEGINS
            if is_npz:
                with NpzFile(self._path) as arrays:
                    return arrays[self._choose(arrays, array)]
            frames: Array = np.load(self._path, mmap_mode="r", allow_pickle=False)
            return frames
        except FileNotFoundError:
            raise InputError(f"{self._path} does not exist", "check the path") from None
        except MultigraftError:
            raise
        except PermissionError as error:
            raise unreadable(self._path, error) from error
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{self._path} is not a readable NumPy file ({error})", "write it again with numpy.save or numpy.savez"
            ) from error

    def _choose(self, arrays: Arrays, array: str | None) -> str:
        if array is not None:
            if array not in arrays:
                raise UsageError(
                    f"{self._path} holds no array {array!r}", f"choose from: {', '.join(arrays) or 'none'}"
                )
            return array
        fitting = [name for name, values in arrays.items() if _is_frames(values)]
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


def _is_picture(array: Array) -> bool:
    """Whether it is height x width x 3 rather than many grey frames of 3 columns, which no camera takes."""
    return array.ndim == 3 and array.shape[2] == 3 and min(array.shape[:2]) > 3


def _is_frames(array: Array) -> bool:
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3)))
