"""NumPy's .npz without a clock in it: equal arrays give equal bytes; and read from files that nobody vouches for."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.tensors.arrays import Array, Arrays

FIXED_TIME = (2020, 1, 1, 0, 0, 0)
"""The time that every member carries."""

LARGEST = 1 << 30
"""Bytes that :func:`read_npz` unpacks at most."""


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

    Args:
        source: The file's content, or its path.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or something else; also when a damaged array, or one of objects, is asked for.
    """

    def __init__(self, source: bytes | str | os.PathLike[str]) -> None:
        with _damage_as_value_error():
            self._archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        members = self._archive.infolist()
        self._members = {m.filename.removesuffix(".npy"): m for m in members if m.filename.endswith(".npy")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(member.file_size for member in self._members.values())

    def __getitem__(self, name: str) -> Array:
        member = self._members[name]
        with _damage_as_value_error(), self._archive.open(member) as opened:
            array = np.load(opened, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def read_npz(data: bytes) -> dict[str, Array]:
    """All arrays of an .npz file by name.

    Raises:
        ValueError: It is damaged or something else, holds objects, or unpacks to more than :data:`LARGEST` bytes.
    """
    with NpzFile(data) as arrays:
        if arrays.unpacked_bytes > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB of arrays")
        return dict(arrays)


@contextlib.contextmanager
def _damage_as_value_error() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, EOFError, NotImplementedError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error) or "it ends early") from error
