"""Small pieces of C text."""

from __future__ import annotations

import hashlib

from multigraft.firmware_gen.arithmetic.geometry import Window


def digest(text: str) -> str:
    """Eight hex digits that name a generated function: equal bodies get one function."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def string(text: str) -> str:
    """A string literal; what it cannot hold becomes an underscore."""
    return '"' + "".join(c if c.isascii() and c.isprintable() and c not in '"\\?' else "_" for c in text) + '"'


def window_literal(over: Window, padding: int, ring: int | None = None) -> str:
    """A ``mg_window`` compound literal."""
    fields = (
        over.in_h, over.in_w, over.in_c, over.out_h, over.out_w, over.out_c, over.k_h, over.k_w, over.stride_h,
        over.stride_w, over.dilation_h, over.dilation_w, over.pad_h, over.pad_w, ring or over.in_h, padding,
    )  # fmt: skip
    return f"(mg_window){{{', '.join(map(str, fields))}}}"


def array(name: str, data: bytes, per_line: int = 10) -> str:
    """A constant array of 32-bit words, so that the compiler parses little and aligns to 4."""
    padded = data + bytes(-len(data) % 4)
    words = [f"0x{int.from_bytes(padded[i : i + 4], 'little'):08x}u" for i in range(0, len(padded), 4)]
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return f"static const uint32_t {name}[{len(words)}] = {{\n    " + ",\n    ".join(lines) + ",\n};\n"
