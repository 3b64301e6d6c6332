"""Operators that cannot be converted: these have to be refused by name."""

from __future__ import annotations

import numpy as np

from tests.fuzz.sketch import Sketch


def unknown(s: Sketch) -> list[str]:
    """Shapes that depend on values, random numbers, bits, contributed operators."""
    kind, x = (
        s.pick(("NonZero", "Unique", "Compress", "BitShift", "BitwiseAnd", "QuickGelu", "RandomNormalLike")),
        s.tensor(),
    )
    if kind == "NonZero":
        found = s.add(kind, x)
        return s.add("Cast", *found, to=1) if found else []
    if kind == "Unique":
        return s.add(kind, x)
    if kind == "Compress":
        return s.add(kind, x, s.constant([True], np.bool_))
    if kind in ("BitShift", "BitwiseAnd"):
        whole = s.add("Cast", *s.add("Abs", x), to=12)
        given = {"direction": "LEFT"} if kind == "BitShift" else {}
        shifted = s.add(kind, *whole, s.constant(1, np.uint32), **given) if whole else []
        return s.add("Cast", *shifted, to=1) if shifted else []
    if kind == "QuickGelu":
        return s.add(kind, x, domain="com.microsoft")
    return s.add(kind, x, seed=1.0)


KINDS = {"unknown": unknown}
