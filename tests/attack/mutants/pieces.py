"""What mutants of several kinds of files are made of."""

from __future__ import annotations

import io
import random
import zipfile
from typing import Any

from multigraft.npz import FIXED_TIME

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1 << 31, -(1 << 63), 1 << 80, 0.5, -1.0, 1e308, 1e-320, float("nan"), float("inf"),
    "", "x", "\x00", "../x", "\x1b[2J", "é" * 300, "int8", "float32", "float64", "garment", "classification",
    "segmentation", [], [[]], [1], [-1], ["x"], [1 << 40] * 4, {}, {"x": 1},
)  # fmt: skip
"""What a place of parsed JSON may hold instead."""

Contents = dict[str, bytes]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place within a parsed JSON object, at any depth: what holds it and its key."""
    found = [(value, key) for key in value]
    for holder, key in found:
        inner = holder[key]
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        found += [(inner, k) for k in keys]
    return found


def scrambled(data: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, or cut."""
    if not data:
        return b"x"
    if draw.random() < 0.2:
        return data[: draw.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def unpacked(data: bytes) -> Contents:
    """The members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Contents, methods: dict[str, int] | None = None) -> bytes:
    """An archive of these members."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, FIXED_TIME), content, (methods or {}).get(name, zipfile.ZIP_STORED))
    return target.getvalue()
