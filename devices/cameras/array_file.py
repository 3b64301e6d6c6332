"""Frames in a NumPy file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError, UsageError
from multigraft.tensors.preprocessing import Frame


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
        if not _is_frames(frames):
            raise InputError(
                f"{path} holds {frames.dtype} of shape {frames.shape}",
                "store uint8 frames, N x height x width (grey) or N x height x width x 3 (RGB)",
            )
        if 0 in frames.shape:
            raise InputError(f"{path} holds no frames", "store at least one")
        self._frames = frames[..., 0] if frames.ndim == 4 and frames.shape[3] == 1 else frames

    def _read(self, array: str | None) -> npt.NDArray[Any]:
        try:
            held = np.load(self._path, mmap_mode="r", allow_pickle=False)
            if isinstance(held, np.ndarray):
                return held
            with held:
                return held[self._choose(held, array)]  # type: ignore[no-any-return]
        except FileNotFoundError:
            raise InputError(f"{self._path} does not exist", "check the path") from None
        except UsageError:
            raise
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{self._path} is not a readable NumPy file ({error})", "write it again with numpy.save or numpy.savez"
            ) from error

    def _choose(self, held: Any, array: str | None) -> str:
        if array is not None:
            if array not in held.files:
                raise UsageError(
                    f"{self._path} holds no array {array!r}", f"choose from: {', '.join(held.files) or 'none'}"
                )
            return array
        fitting = [name for name in held.files if _is_frames(held[name])]
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


def _is_frames(array: npt.NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3)))
