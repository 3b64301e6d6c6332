"""Rows of numbers in NumPy files: what tasks that take arrays see as frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.devices.cameras.array_file import ZIP_BEGINS, mapped
from multigraft.devices.file_sources import MAC_PREFIX, SourceWithoutDevice
from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.npz import NpzFile, npy_header
from multigraft.reading import regular_file, unreadable
from multigraft.tensors.array_preparation import same_shape
from multigraft.tensors.arrays import Array

_Header = tuple[np.dtype[Any], tuple[int, ...]]

MOST_ROWS = 1 << 40
"""Of one file: those of many together are still counted by a machine's integers."""


@dataclass(frozen=True)
class _Part:
    """One file: its rows, or the one row that it is."""

    path: Path
    array: str | None
    rows: int
    is_one: bool


class ArrayRows(SourceWithoutDevice):
    """Camera adapter: the rows of a ``.npy`` file (read as needed), of one array of a ``.npz`` file, or of every
    ``.npy`` file of a folder, in the order of their names.

    Args:
        path: The file, or the folder.
        shape: Of a row. An array of one dimension more holds many; one of that shape is a single row. Dimensions of
            length 1 may be left out or added.
        array: Which array of a .npz file; needed where several fit.

    Raises:
        InputError: It is not there, is damaged, or holds no such rows.
        UsageError: ``array`` names none, or has to be given.
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, ...], array: str | None = None) -> None:
        self._path, self._shape = Path(path), shape
        self._parts = tuple(self._folder() if self._path.is_dir() else [self._part(self._path, array)])
        if not len(self):
            raise InputError(f"{path} holds no rows", "store at least one")

    def _folder(self) -> list[_Part]:
        try:
            found = sorted(p for p in self._path.iterdir() if p.suffix.lower() == ".npy" and p.is_file())
        except PermissionError as error:
            raise unreadable(self._path, error) from error
        found = [p for p in found if not p.name.startswith(MAC_PREFIX)]
        if not found:
            raise InputError(f"{self._path} holds no .npy files", "store rows with numpy.save")
        return [self._part(p, None) for p in found]

    def _part(self, path: Path, array: str | None) -> _Part:
        try:
            with regular_file(path) as file:
                is_zip = file.read(4) in ZIP_BEGINS
                file.seek(0)
                header: _Header = ((np.dtype(np.uint8), ())) if is_zip else npy_header(file)[:2]
            if is_zip:
                with NpzFile(path) as arrays:
                    array = self._choose(path, arrays, array)
                    header = arrays.header(array)
        except MultigraftError:
            raise
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
        dtype, shape = header
        if not self._fits(dtype, shape):
            row = " x ".join(map(str, self._shape))
            raise InputError(
                f"{path} holds {dtype} of shape {shape}, and its tasks take rows of {row}",
                f"store numbers of shape N x {row}",
            )
        is_many = self._holds_many(shape)
        if max(shape, default=0) > MOST_ROWS:
            raise _damaged(path, ValueError("it promises more rows than any disk holds"))
        return _Part(path, array, shape[0] if is_many else 1, not is_many)

    def _holds_many(self, shape: tuple[int, ...]) -> bool:
        return len(shape) > 0 and same_shape(shape[1:], self._shape)

    def _fits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        return dtype.kind in "fiub" and (self._holds_many(shape) or same_shape(shape, self._shape))

    def _choose(self, path: Path, arrays: NpzFile, array: str | None) -> str:
        if array is not None:
            if array not in arrays:
                raise UsageError(f"{path} holds no array {array!r}", f"choose from: {', '.join(arrays) or 'none'}")
            return array
        names = list(arrays)
        fitting = names if len(names) == 1 else [name for name in names if self._fits(*arrays.header(name))]
        if len(fitting) == 1:
            return fitting[0]
        row = " x ".join(map(str, self._shape))
        if not fitting:
            raise InputError(f"{path} holds no rows of {row}", f"store numbers of shape N x {row}")
        raise UsageError(
            f"{path} holds several arrays of rows ({', '.join(fitting)})", f"name one, as in {path}:{fitting[0]}"
        )

    @property
    def name(self) -> str:
        return f"rows in {self._path}"

    def __len__(self) -> int:
        return sum(part.rows for part in self._parts)

    def __iter__(self) -> Iterator[Array]:
        """Rows of the shape that was asked for, in the type they are stored in.

        Raises:
            InputError: A row holds NaN or infinity; the message names file and row.
        """
        for part in self._parts:
            held = _read(part)
            for number, row in enumerate([held] if part.is_one else held):
                if row.dtype.kind == "f" and not np.isfinite(row).all():
                    which = "" if part.is_one else f": row {number}"
                    raise InputError(f"{part.path}{which} holds NaN or infinity", "remove or repair it")
                yield np.array(row).reshape(self._shape)


class FakeRows(SourceWithoutDevice):
    """Camera adapter without hardware: waves that drift, and noise.

    Row ``i`` is a function of ``i`` and the arguments alone.

    Args:
        shape: Of a row.
        seed: Seed of the noise and of the waves' phases.
        rows: Number of rows; None for a source that never ends.
    """

    def __init__(self, shape: tuple[int, ...], seed: int = 0, rows: int | None = None) -> None:
        self._shape, self._seed, self._rows = shape, seed, rows

    @property
    def name(self) -> str:
        return f"fake rows {'x'.join(map(str, self._shape))}, seed {self._seed}"

    def __iter__(self) -> Iterator[Array]:
        number = 0
        while self._rows is None or number < self._rows:
            random = np.random.default_rng((self._seed, number))
            waves = np.sin(np.arange(self._shape[-1]) * 0.2 + 0.5 * number + self._seed)
            yield (waves + 0.5 * random.standard_normal(self._shape)).astype(np.float32)
            number += 1


def _read(part: _Part) -> Array:
    try:
        if part.array is not None:
            with NpzFile(part.path) as arrays:
                return arrays[part.array]
        with regular_file(part.path) as file:
            return mapped(file)
    except MultigraftError:
        raise
    except (OSError, ValueError) as error:
        raise _damaged(part.path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a readable NumPy file ({error})", "write it again with numpy.save or numpy.savez")
