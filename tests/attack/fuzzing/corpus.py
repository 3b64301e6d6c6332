"""The corpus of a target: one small archive with inputs that each reach something that the others do not."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from multigraft.files import sha256_of
from multigraft.npz import FIXED_TIME

FOLDER = Path(__file__).resolve().parent / "corpus"
MOST_BYTES = 48 << 10
"""Of an archive."""
LARGEST_INPUT = 12 << 10


def load(name: str) -> dict[str, bytes]:
    """Inputs by the first digits of their SHA-256."""
    path = FOLDER / f"{name}.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def save(name: str, inputs: Iterable[bytes]) -> int:
    """Keep the shortest inputs, as many as fit; returns how many."""
    FOLDER.mkdir(exist_ok=True)
    path, kept = FOLDER / f"{name}.zip", 0
    chosen = sorted({data for data in inputs if len(data) <= LARGEST_INPUT}, key=lambda data: (len(data), data))
    with zipfile.ZipFile(path, "w") as archive:
        for data in chosen:
            info = zipfile.ZipInfo(sha256_of(data)[:16], FIXED_TIME)
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 9)
            kept += 1
            if archive.fp is not None and archive.fp.tell() > MOST_BYTES:
                break
    return kept
