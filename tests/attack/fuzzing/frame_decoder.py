"""Pictures, arrays and sounds as ``--source`` takes them. The first byte of an input chooses how it is read."""

from __future__ import annotations

import functools
import io
import itertools
import tempfile
from pathlib import Path

import numpy as np

from multigraft.devices.cameras.sources import open_source
from multigraft.sounds.listening import Listening
from multigraft.tensors.preparation import Rows

LISTENING = Listening(16_000, 400, 400)
FORMS: tuple[tuple[str, Rows | None], ...] = (
    *((suffix, None) for suffix in (".png", ".jpg", ".bmp", ".gif", ".ppm", ".webp", ".tif", ".npy", ".npz")),
    (".npy", (4, 3)), (".npz", (4, 3)), (".wav", LISTENING),
)  # fmt: skip
"""Suffix, and what the tasks take: pictures, rows of numbers or sound."""

MOST_FRAMES = 3


def seeds() -> dict[str, bytes]:
    """Every form, pictures in several modes."""
    made: dict[str, bytes] = {}
    for number, (suffix, rows) in enumerate(FORMS):
        for name, content in _contents(suffix, rows).items():
            made[f"{number}{suffix}-{name}"] = bytes([number]) + content
    return made


def _contents(suffix: str, rows: Rows | None) -> dict[str, bytes]:
    from tests.attack.hostile_makers import npz

    rng = np.random.default_rng(0)
    if suffix == ".wav":
        return {f"{bits}": _wav(bits, rng.integers(0, 256, 900, np.uint8).tobytes()) for bits in (8, 16, 24, 32)}
    if suffix in (".npy", ".npz"):
        shape = (2, 5, 4) if rows is None else (2, 4, 3)
        kinds = [np.uint8] if rows is None else [np.float32, np.int64]
        arrays = [_npy(rng.integers(0, 9, shape).astype(kind)) for kind in kinds]
        return {str(i): array if suffix == ".npy" else npz(x=array) for i, array in enumerate(arrays)}
    return _pictures(suffix, rng)


def _pictures(suffix: str, rng: np.random.Generator) -> dict[str, bytes]:
    from PIL import Image

    modes = {".png": ("RGB", "RGBA", "L", "P", "1", "I;16"), ".tif": ("RGB", "L", "I;16", "F", "CMYK")}
    made = {}
    for mode in modes.get(suffix, ("RGB", "L")):
        whole = Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8))
        image = (
            Image.fromarray(rng.integers(0, 65536, (9, 8)).astype(np.uint16)) if mode == "I;16" else whole.convert(mode)
        )
        target = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(target, {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:]), **(
            {"exif": exif} if suffix in (".jpg", ".png", ".webp") else {}
        ))  # fmt: skip
        made[mode.replace(";", "")] = target.getvalue()
    return made


def _npy(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def _wav(bits: int, data: bytes) -> bytes:
    import struct

    size = bits // 8
    data = data[: len(data) // size * size]
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 16_000, 16_000 * size,
                       size, bits)  # fmt: skip
    return head + struct.pack("<4sI", b"data", len(data)) + data


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def run(data: bytes) -> None:
    """Open it as a source and read a few frames."""
    if not data:
        return
    suffix, rows = FORMS[data[0] % len(FORMS)]
    path = Path(_folder().name) / f"a{suffix}"
    path.write_bytes(data[1:])
    with open_source(str(path), rows) as source:
        for _ in itertools.islice(source, MOST_FRAMES):
            pass
