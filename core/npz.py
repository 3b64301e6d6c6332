"""NumPy's .npz without a clock in it: equal arrays give equal bytes; and read from bytes that nobody vouches for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]

FIXED_TIME = (2020, 1, 1, 0, 0, 0)
"""Of every member."""

LARGEST = 1 << 30
"""Bytes that are unpacked at most."""


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


def stored_npz_bytes(arrays: Arrays) -> bytes:
    """The arrays by name, in their order and uncompressed, as bundles store their golden inputs and outputs."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return target.getvalue()


def read_npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """What :func:`npz_bytes` or :func:`stored_npz_bytes` gave.

    Raises:
        ValueError: It holds more than :data:`LARGEST` bytes, or objects.
        zipfile.BadZipFile: It is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB of arrays")
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        return {name: held[name] for name in held.files}
